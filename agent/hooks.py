"""Runs the customer's programs in /etc/ironlease/before-end.d before the lease ends.

They run in order, each for its share of the time left, and never past the end. They belong to the
customer and may do anything root may; this module only makes sure that they end.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from agent.lease import Held, Lease
from agent.times import iso

FOLDER = Path("/etc/ironlease/before-end.d")
# All programs have ended this long before the lease does.
_MARGIN_S = 5.0
_LOOK_S = 1.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_log = logging.getLogger("agent")


def run_all(lease: Lease, held: Held, now: Callable[[], float], folder: Path = FOLDER) -> None:
    """Run the programs one after the other; return when the last has ended."""
    programs = executables(folder)
    for number, program in enumerate(programs):
        left = (lease.remaining_s or 0.0) - _MARGIN_S
        if left <= 0:
            _log.warning("%s is not run: no time is left", program)
            continue
        _run(program, lease, held, now, now() + left / (len(programs) - number))


def executables(folder: Path) -> list[Path]:
    """List the executables in order of name, without hidden files."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        entry
        for entry in entries
        if entry.is_file() and os.access(entry, os.X_OK) and not entry.name.startswith(".")
    ]


def _run(program: Path, lease: Lease, held: Held, now: Callable[[], float], until_s: float) -> None:
    environment = {
        "PATH": _PATH,
        "HOME": "/root",
        "IRONLEASE_LEASE": held.lease,
        "IRONLEASE_ENDS_AT": iso(held.not_after),
        "IRONLEASE_REMAINING_S": str(int(lease.remaining_s or 0)),
    }
    _log.info("%s has %.0f s", program, until_s - now())
    try:
        process = subprocess.Popen(
            [program], cwd="/", stdin=subprocess.DEVNULL, env=environment, start_new_session=True
        )
    except OSError as error:
        _log.warning("%s: %s", program, error)
        return

    def left() -> float:
        return min(until_s - now(), (lease.remaining_s or 0.0) - _MARGIN_S)

    while left() > 0 and not _ended(process, left()):
        pass  # the end may be moved forward
    if process.poll() is None:
        _log.warning("%s is killed: its time is over", program)
        os.killpg(process.pid, signal.SIGKILL)
    _log.info("%s ended with %d", program, process.wait())


def _ended(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    """Wait briefly for the process; return whether it has ended."""
    try:
        process.wait(max(0.0, min(limit_s, _LOOK_S)))
    except subprocess.TimeoutExpired:
        return False
    return True
