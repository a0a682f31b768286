"""Warns everyone on the machine that the lease is ending: on every terminal and at login.

Programs learn of it from `agent.metadata`; `agent.hooks` runs what the customer prepared for the
end.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

from agent.lease import Held, Lease
from agent.times import in_words, span

HOOKS_S = 120.0
WARNINGS_S = (24 * 3600.0, 3600.0, 1800.0, 600.0, HOOKS_S)
"""Warnings are given this long before the end, if the lease is that long."""

# pam_motd(8) shows it after /etc/motd; a reboot removes it.
MOTD = Path("/run/motd.d/ironlease")
_LONGEST_WAIT_S = 60.0
_WALL_TIMEOUT_S = 10
_log = logging.getLogger("agent")


def announced(held: Held) -> bool:
    """Whether any warning has been given."""
    return any(held.untold_s <= before < _length(held) for before in WARNINGS_S)


class Notices:
    """Gives the warnings that are due at each `tick`; `agent.__main__` waits between ticks."""

    def __init__(
        self,
        lease: Lease,
        run_hooks: Callable[[Held], None],
        *,
        wall: Callable[[str], None],
        motd: Path = MOTD,
    ) -> None:
        """`run_hooks` is called once, with the last warning, and must not block."""
        self._lease = lease
        self._run_hooks = run_hooks
        self._wall = wall
        self._motd = motd
        self._shown = ""

    def tick(self) -> float:
        """Give the warnings that are due; return the seconds until the next tick."""
        held, left = self._lease.held, self._lease.remaining_s
        if held is None or left is None:
            return _LONGEST_WAIT_S
        self._lease.keep()
        self._show(f"The lease of this server ends on {in_words(held.not_after)}.\n")
        mine = [before for before in WARNINGS_S if before < _length(held)]
        due = [before for before in mine if left <= before < held.untold_s]
        if due and left > 0:
            self._lease.told(min(due))
            if min(due) == HOOKS_S:
                self._run_hooks(held)
            self._wall(
                f"The lease of this server ends in {span(left)}, on {in_words(held.not_after)}. "
                "Sessions are then closed and every disk is erased: copy what you want to keep."
            )
        later = [left - before for before in mine if before < left]
        return min([_LONGEST_WAIT_S, *later])

    def _show(self, text: str) -> None:
        if text == self._shown:
            return
        try:
            self._motd.parent.mkdir(parents=True, exist_ok=True)
            self._motd.write_text(text)
        except OSError as error:  # the terminal warnings still go out
            _log.warning("%s: %s", self._motd, error)
        self._shown = text


def wall(text: str) -> None:
    """Write a message to the terminals of everyone logged in."""
    try:
        subprocess.run(
            ["wall", "--nobanner", "--timeout", "2"],
            check=True,
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_WALL_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("writing to terminals failed: %s", error)


def _length(held: Held) -> float:
    return held.not_after - held.not_before
