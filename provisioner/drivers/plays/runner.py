"""Runs playbooks through ansible-runner, each in its own process, with events as they happen.

The playbooks decide what a play does, the caller what its result means.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioner.domain.failures import FailureKind
from provisioner.drivers.plays.base import OnEvent, PlayFailed, Plays
from provisioner.drivers.plays.events import Transcript
from provisioner.drivers.plays.workspace import Workspace
from provisioner.drivers.ssh.base import SshTarget

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
LINE_LIMIT = 128 << 20
"""Longest event, in bytes, that is read from a run."""
CONTROL_FOLDER_CHARS = 70
"""Of the 107 that a socket's path may have; ssh adds its name and a random suffix."""
LAST_WORDS_S = 5.0
"""How long a run that was told to end may take to kill its processes."""


class AnsiblePlays(Plays):
    """Runs playbooks, each against one server.

    `root` holds the runs' folders; the newest `keep_failed` of failed runs are kept. Starting
    Ansible costs a second of CPU, waiting for a server nothing: `starts` limits the first (default:
    the number of CPUs), `runs` all of them (each takes about 100 MB of memory).
    """

    def __init__(
        self,
        *,
        root: Path,
        private_key: Path,
        playbooks: Path = PLAYBOOKS,
        starts: int = os.cpu_count() or 1,
        runs: int = 64,
        keep_failed: int = 20,
    ) -> None:
        self._active = root / "active"
        self._failed = root / "failed"
        self._private_key = private_key
        self._playbooks = playbooks
        self._starts = asyncio.Semaphore(starts)
        self._runs = asyncio.Semaphore(runs)
        self._keep_failed = keep_failed
        self._spare: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._endings: set[asyncio.Task[None]] = set()
        # Runs of a provisioner that was killed: their variables must not stay on disk.
        shutil.rmtree(self._active, ignore_errors=True)
        self._control = _control_folder(root)

    async def run(
        self,
        playbook: str,
        target: SshTarget,
        variables: Mapping[str, Any],
        on_event: OnEvent,
        *,
        timeout_s: float,
    ) -> dict[str, Any]:
        async with self._runs, self._start() as started:
            return await self._run(playbook, target, variables, _Log(on_event, started), timeout_s)

    @contextlib.asynccontextmanager
    async def _start(self) -> AsyncIterator[Callable[[], None]]:
        """Hold one of `starts` until the yielded function is called, or to the end."""
        await self._starts.acquire()
        with contextlib.ExitStack() as held:
            held.callback(self._starts.release)
            yield held.close

    async def _run(
        self,
        playbook: str,
        target: SshTarget,
        variables: Mapping[str, Any],
        log: "_Log",
        timeout_s: float,
    ) -> dict[str, Any]:
        workspace = Workspace.create(
            self._active, target, variables, key=self._private_key, control_dir=self._control
        )
        process = await self._take_spare()
        transcript = Transcript(playbook)
        try:
            async with asyncio.timeout(timeout_s):
                _request(process, workspace, self._playbooks / f"{playbook}.yml")
                noise = await _follow(process, transcript, log)
                if transcript.finished:
                    return transcript.outcome("")
                code = await process.wait()
                return transcript.outcome(f"status {code}: {' '.join(noise)}".strip(": "))
        except TimeoutError as error:
            raise PlayFailed(
                f"{playbook}.yml did not end within {timeout_s:.0f} s",
                next_action="it will be retried; if it stays slow, look at the server's console",
                kind=FailureKind.TRANSIENT,
            ) from error
        finally:
            failed = sys.exc_info()[0] is not None
            ending = asyncio.create_task(
                self._end(process, workspace, failed, gently=transcript.finished)
            )
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)
            if not transcript.finished:
                # When cancelled or timed out, the run is over only once none of its processes is
                # left.
                await asyncio.shield(ending)

    async def _end(
        self, process: asyncio.subprocess.Process, workspace: Workspace, failed: bool, gently: bool
    ) -> None:
        """Wait for the process to end; `gently` after the last event, when it only closes files."""
        if gently:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await _drain(process)
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await _drain(process)
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if failed:
            workspace.keep(self._failed, at_most=self._keep_failed)
        else:
            workspace.remove()

    async def _take_spare(self) -> asyncio.subprocess.Process:
        taken, self._spare = self._spare, None
        process = await (taken or asyncio.create_task(self._start_process()))
        if process.returncode is not None:
            process = await self._start_process()
        self._spare = asyncio.create_task(self._start_process())
        return process

    async def _start_process(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "provisioner.drivers.plays.child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_LIMIT,
            env=self._environment(),
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        """Pass on nothing of our environment: a user's Ansible settings must not affect a run."""
        scripts = Path(sys.executable).parent
        return {
            "PATH": f"{scripts}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "ANSIBLE_CONFIG": str(self._playbooks / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOST_KEY_CHECKING": "True",
        }

    async def close(self) -> None:
        """End the spare process and wait for runs that are still closing their files."""
        if self._spare is not None:
            spare = await self._spare
            self._spare = None
            if spare.stdin is not None:
                spare.stdin.close()
            await spare.wait()
        await asyncio.gather(*self._endings)
        for socket in self._control.glob("*"):
            master = await asyncio.create_subprocess_exec(
                *("ssh", "-o", f"ControlPath={socket}", "-O", "exit", "server"),
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,  # it may have ended by itself
            )
            await master.wait()
        shutil.rmtree(self._control, ignore_errors=True)


def _control_folder(root: Path) -> Path:
    """Return the folder for shared SSH connections' sockets, whose path length is limited."""
    folder = root.absolute() / "ssh"
    if len(str(folder)) > CONTROL_FOLDER_CHARS:
        return Path(tempfile.mkdtemp(prefix="ironlease-ssh-"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return folder


@dataclass(frozen=True, slots=True)
class _Log:
    """Receives a run's log."""

    on_event: OnEvent
    started: Callable[[], None]
    """Called when the first task starts; calling it again does no harm."""


def _request(process: asyncio.subprocess.Process, workspace: Workspace, playbook: Path) -> None:
    if process.stdin is None:
        raise RuntimeError("a run's process is always started with pipes")
    request = {
        "private_data_dir": str(workspace.path),
        "playbook": str(playbook),
        "inventory": str(workspace.inventory),
        "home": str(workspace.home),
        "ssh_config": str(workspace.ssh_config),
        "connected": str(workspace.connected),
    }
    process.stdin.write(json.dumps(request).encode() + b"\n")


async def _follow(
    process: asyncio.subprocess.Process, transcript: Transcript, log: _Log
) -> deque[str]:
    """Pass on events up to the last; return what else the process printed."""
    noise: deque[str] = deque(maxlen=20)
    if process.stdout is None:
        raise RuntimeError("a run's process is always started with pipes")
    async for line in process.stdout:
        try:
            message = json.loads(line)
        except ValueError:
            noise.append(line.decode(errors="replace").strip())
            continue
        if "event" not in message:
            continue
        event = transcript.read(message)
        if transcript.started:
            log.started()
        if event is not None:
            log.on_event(event)
        if transcript.finished:
            break
    return noise


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Read to the end, so that a full pipe never blocks the process."""
    if process.stdout is not None:
        while await process.stdout.read(65536):
            pass
