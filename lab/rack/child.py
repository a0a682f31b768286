"""Long-running children of the rack process, tied to its life.

The kernel kills them when the rack process dies, however it dies, so that a killed rack leaves no
machine, BMC or switch running.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.rack.errors import RackError

_TIED_TO_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


async def spawn(
    command: Sequence[str | Path],
    log: Path,
    *,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> asyncio.subprocess.Process:
    """Start a child whose output is appended to `log`."""
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *_TIED_TO_PARENT,
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=pass_fds,
            env={**os.environ, **(environment or {})},
            # A terminal's Ctrl-C is for the client, never for the rack's children.
            start_new_session=True,
        )


async def end(process: asyncio.subprocess.Process, sig: signal.Signals = signal.SIGKILL) -> None:
    """Send `sig` and wait until the child is gone; SIGKILL follows after 5 s."""
    if process.returncode is None:
        process.send_signal(sig)
    try:
        await asyncio.wait_for(process.wait(), 5)
    except TimeoutError:
        process.kill()
        await process.wait()


async def run(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a short command to its end and return its output.

    Raises RackError with its error output if it fails.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    output, error = await process.communicate()
    if process.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise RackError(f"`{words}` failed ({process.returncode}): {error.decode().strip()}")
    return output.decode()
