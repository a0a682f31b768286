"""Playbook runs against a real sshd on loopback, with modules made for each test."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ssh_server import SshServer, make_key

from provisioner.domain.failures import FailureKind
from provisioner.drivers.plays import PlayEvent, PlayEventKind, PlayFailed, PlayUnreachable
from provisioner.drivers.plays.runner import PLAYBOOKS, AnsiblePlays

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("/usr/sbin/sshd"), reason="needs openssh-server"),
]

PLAY = """\
- hosts: server
  gather_facts: false
  tasks:
    - name: Do the work
      on_server:
        module: {name}
"""
WAIT_FOR_EVER = """\
import os, time
from module_utils.channel import progress
def main(variables):
    open(variables["pid_file"], "w").write(str(os.getpid()))
    progress("at work")
    while True:
        time.sleep(0.1)
"""


class Bench:
    """A server (sshd on loopback), the runner, and playbooks written by the test."""

    def __init__(self, folder: Path, server: SshServer, plays: AnsiblePlays) -> None:
        self.folder = folder
        self.server = server
        self.plays = plays
        self.events: list[PlayEvent] = []

    def write_module(self, name: str, source: str) -> None:
        (self.folder / "playbooks/library" / f"{name}.py").write_text(source)
        (self.folder / "playbooks" / f"{name}.yml").write_text(PLAY.format(name=name))

    async def run(self, name: str, variables: dict[str, Any], **changed: Any) -> dict[str, Any]:
        return await self.plays.run(
            name,
            replace(self.server.target(), **changed.pop("target", {})),
            variables,
            self.events.append,
            timeout_s=changed.pop("timeout_s", 60),
        )

    def kept_text(self) -> str:
        """Return everything that any run left in its files."""
        files = [path for path in (self.folder / "runs").rglob("*") if path.is_file()]
        return "\n".join(path.read_text(errors="replace") for path in files)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    server = await SshServer.start(tmp_path / "sshd")
    server.authorize(make_key(tmp_path / "id"))
    shutil.copytree(PLAYBOOKS, tmp_path / "playbooks")
    plays = AnsiblePlays(
        root=tmp_path / "runs",
        private_key=tmp_path / "id",
        playbooks=tmp_path / "playbooks",
        starts=2,
    )
    made = Bench(tmp_path, server, plays)
    yield made
    for opened in {plays, made.plays}:
        await opened.close()
    await server.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the condition: other processes announce their end to nobody."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def until_gone(pid: int) -> None:
    await until(lambda: not os.path.exists(f"/proc/{pid}"))  # noqa: PTH110


async def until_no_play_is_left(bench: Bench) -> None:
    mine = str(bench.folder).encode()
    await until(lambda: not any(b"ansible-playbook" in c and mine in c for c in commands()))


def pid_in(file: str | Path) -> int:
    return int(Path(file).read_text())


def commands() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            yield path.read_bytes()


async def started_module(bench: Bench, variables: dict[str, Any]) -> tuple[asyncio.Task[Any], int]:
    """Start WAIT_FOR_EVER; return the run and its module's pid once it reports progress."""
    bench.write_module("wait", WAIT_FOR_EVER)
    run = asyncio.create_task(bench.run("wait", variables))
    await until(lambda: any(event.text == "at work" for event in bench.events))
    return run, pid_in(variables["pid_file"])


async def test_a_modules_result_is_returned_and_its_progress_logged_as_it_comes(
    bench: Bench,
) -> None:
    bench.write_module(
        "count",
        "from module_utils.channel import progress\n"
        "def main(variables):\n"
        "    progress('half way')\n"
        "    return {'sum': sum(variables['numbers'])}\n",
    )
    assert await bench.run("count", {"numbers": [1, 2, 3]}) == {"sum": 6}
    assert [(event.kind, event.text) for event in bench.events[:2]] == [
        (PlayEventKind.TASK, "Do the work"),
        (PlayEventKind.OUTPUT, "half way"),
    ]
    assert bench.events[-1].kind is PlayEventKind.OK


async def test_hostile_text_reaches_the_module_unchanged_and_runs_nowhere(bench: Bench) -> None:
    bench.write_module(
        "echo", "def main(variables):\n    return {'length': len(variables['text'])}\n"
    )
    trap = bench.folder / "trap"
    text = (
        "{{ 7*7 }}{% for x in range(9) %}{{ lookup('pipe', 'touch TRAP') }}{% endfor %}"
        "$(touch TRAP)`touch TRAP`'; touch TRAP; '\"\n\0{#\n!unsafe &a *a"
    ).replace("TRAP", str(trap))
    assert await bench.run("echo", {"text": text}) == {"length": len(text)}
    assert not trap.exists()


async def test_a_modules_answer_is_not_templated_either(bench: Bench) -> None:
    bench.write_module("tell", "def main(variables):\n    return {'model': '{{ 7*7 }}'}\n")
    assert await bench.run("tell", {}) == {"model": "{{ 7*7 }}"}


async def test_secrets_are_in_no_event_and_in_no_file_that_is_kept(bench: Bench) -> None:
    bench.write_module(
        "fail",
        "from module_utils.channel import ServerFault\n"
        "def main(variables):\n"
        "    assert variables['ssh_host_key'].startswith('-----')\n"
        "    raise ServerFault('the disk broke', 'replace it', {'seen': 1})\n",
    )
    secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0"
    with pytest.raises(PlayFailed):
        await bench.run("fail", {"ssh_host_key": secret})
    await bench.plays.close()
    assert list((bench.folder / "runs/failed").iterdir())
    assert "c2VjcmV0" not in bench.kept_text()
    assert "c2VjcmV0" not in repr(bench.events)


async def test_a_classified_failure_keeps_its_kind_reason_action_and_evidence(
    bench: Bench,
) -> None:
    bench.write_module(
        "refuse",
        "from module_utils.channel import Configuration\n"
        "def main(variables):\n"
        "    raise Configuration('the image is corrupt', 'import it again', {'chunk': 3})\n",
    )
    with pytest.raises(PlayFailed) as caught:
        await bench.run("refuse", {})
    assert caught.value.kind is FailureKind.CONFIGURATION
    assert caught.value.reason == "the image is corrupt"
    assert caught.value.next_action == "import it again"
    assert caught.value.evidence == {"chunk": 3}
    assert bench.events[-1].kind is PlayEventKind.FAILED


async def test_a_module_that_crashes_is_a_failure_that_shows_its_traceback(bench: Bench) -> None:
    bench.write_module("crash", "def main(variables):\n    return 1 / 0\n")
    with pytest.raises(PlayFailed, match="ZeroDivisionError"):
        await bench.run("crash", {})


async def test_a_playbook_that_does_not_exist_is_reported_as_such(bench: Bench) -> None:
    with pytest.raises(PlayFailed, match="no_such_play") as caught:
        await bench.run("no_such_play", {})
    assert caught.value.kind is FailureKind.CONFIGURATION


async def test_a_closed_port_is_unreachable(bench: Bench) -> None:
    bench.write_module("tell", "def main(variables):\n    return {}\n")
    await bench.server.stop()
    with pytest.raises(PlayUnreachable):
        await bench.run("tell", {})


async def test_another_host_key_than_the_pinned_one_gets_nothing(bench: Bench) -> None:
    bench.write_module(
        "tell", "def main(variables):\n    open(variables['path'], 'w')\n    return {}\n"
    )
    other = make_key(bench.folder / "other")
    written = bench.folder / "written"
    with pytest.raises(PlayUnreachable):
        await bench.run("tell", {"path": str(written)}, target={"host_key": other})
    assert not written.exists()


async def test_a_run_that_takes_too_long_is_ended_and_tried_again_later(bench: Bench) -> None:
    bench.write_module("wait", WAIT_FOR_EVER)
    pid_file = bench.folder / "pid"
    with pytest.raises(PlayFailed) as caught:
        await bench.run("wait", {"pid_file": str(pid_file)}, timeout_s=8)
    assert caught.value.kind is FailureKind.TRANSIENT
    if pid_file.exists():
        await until_gone(pid_in(pid_file))


async def test_a_cancelled_run_leaves_no_process_here_or_on_the_server(bench: Bench) -> None:
    run, pid = await started_module(bench, {"pid_file": str(bench.folder / "pid")})
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await until_gone(pid)
    await until_no_play_is_left(bench)


PROVISIONER = """\
import asyncio, sys
from pathlib import Path
from provisioner.drivers.plays.runner import AnsiblePlays
from provisioner.drivers.ssh.base import SshTarget
folder, port, host_key = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
async def main():
    plays = AnsiblePlays(
        root=folder / "runs", private_key=folder / "id", playbooks=folder / "playbooks"
    )
    target = SshTarget("127.0.0.1", host_key, port=port)
    variables = {"pid_file": str(folder / "pid")}
    await plays.run("wait", target, variables, lambda e: print(e.text, flush=True), timeout_s=60)
asyncio.run(main())
"""


async def test_a_run_whose_provisioner_was_killed_ends_with_it(bench: Bench) -> None:
    bench.write_module("wait", WAIT_FOR_EVER)
    target = bench.server.target()
    provisioner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROVISIONER, bench.folder, str(target.port), target.host_key),
        stdout=asyncio.subprocess.PIPE,
    )
    assert provisioner.stdout is not None
    async with asyncio.timeout(60):
        while b"at work" not in (line := await provisioner.stdout.readline()):
            assert line, "the provisioner ended early"
    provisioner.kill()
    await provisioner.wait()
    await until_gone(pid_in(bench.folder / "pid"))
    await until_no_play_is_left(bench)


async def test_runs_against_one_server_follow_each_other(bench: Bench) -> None:
    """The server's own lock: the second waits for the first, whoever started it."""
    bench.write_module(
        "append",
        "import time\n"
        "def main(variables):\n"
        "    with open(variables['path'], 'a') as log:\n"
        "        log.write('in ')\n"
        "        log.flush()\n"
        "        time.sleep(0.3)\n"
        "        log.write('out ')\n"
        "    return {}\n",
    )
    log = bench.folder / "log"
    await asyncio.gather(*(bench.run("append", {"path": str(log)}) for _ in range(2)))
    assert log.read_text() == "in out in out "


async def test_settings_of_the_callers_environment_do_not_reach_a_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_CONFIG", "/nonexistent")
    monkeypatch.setenv("ANSIBLE_STRATEGY", "free-for-all")
    bench.write_module("tell", "def main(variables):\n    return {'fine': True}\n")
    assert await bench.run("tell", {}) == {"fine": True}


async def test_a_good_run_leaves_no_files(bench: Bench) -> None:
    bench.write_module("tell", "def main(variables):\n    return {}\n")
    await bench.run("tell", {"password": "x"})
    await bench.plays.close()
    assert not list((bench.folder / "runs/active").iterdir())
    assert not (bench.folder / "runs/failed").exists()


async def test_only_the_newest_failed_runs_are_kept(bench: Bench) -> None:
    bench.plays = AnsiblePlays(
        root=bench.folder / "few",
        private_key=bench.folder / "id",
        playbooks=bench.folder / "playbooks",
        keep_failed=1,
    )
    bench.write_module("crash", "def main(variables):\n    return 1 / 0\n")
    for _ in range(2):
        with pytest.raises(PlayFailed):
            await bench.run("crash", {})
    await bench.plays.close()
    assert len(list((bench.folder / "few/failed").iterdir())) == 1


def test_every_playbook_names_a_module_that_exists() -> None:
    for playbook in PLAYBOOKS.glob("*.yml"):
        text = playbook.read_text()
        module = text.rpartition("module: ")[2].strip()
        assert (PLAYBOOKS / "library" / f"{module}.py").exists(), playbook


def test_variables_of_a_killed_provisioner_are_removed_at_the_next_start(tmp_path: Path) -> None:
    left = tmp_path / "active/01J/variables.json"
    left.parent.mkdir(parents=True)
    left.write_text(json.dumps({"ssh_host_key": "secret"}))
    AnsiblePlays(root=tmp_path, private_key=tmp_path / "id")
    assert not left.exists()
