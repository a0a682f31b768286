"""Tells who works on the machine that the lease ends: a message on every terminal, and one for who
logs in. What programs are told is in `agent.metadata`, what runs before the end in `agent.hooks`.
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
"""So long before the end it is told, as far as the lease is that long."""

# pam_motd(8) shows it after /etc/motd; it goes with the boot
MOTD = Path("/run/motd.d/ironlease")
_LONGEST_WAIT_S = 60.0
_WALL_TIMEOUT_S = 10
_log = logging.getLogger("agent")


def announced(held: Held) -> bool:
    """Whether the end was told at least once."""
    return any(held.untold_s <= before < _length(held) for before in WARNINGS_S)


class Notices:
    """One `tick` tells what is due; waiting between ticks is left to `agent.__main__`."""

    def __init__(
        self,
        lease: Lease,
        run_hooks: Callable[[Held], None],
        *,
        wall: Callable[[str], None],
        motd: Path = MOTD,
    ) -> None:
        """`run_hooks` is called once, when the last warning is given; it must not wait."""
        self._lease = lease
        self._run_hooks = run_hooks
        self._wall = wall
        self._motd = motd
        self._shown = ""

    def tick(self) -> float:
        """Tell what is due; the seconds until the next look."""
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
                "Sessions are closed then, and every disk is erased: copy what you want to keep."
            )
        later = [left - before for before in mine if before < left]
        return min([_LONGEST_WAIT_S, *later])

    def _show(self, text: str) -> None:
        if text == self._shown:
            return
        try:
            self._motd.parent.mkdir(parents=True, exist_ok=True)
            self._motd.write_text(text)
        except OSError as error:  # the warnings come all the same
            _log.warning("%s: %s", self._motd, error)
        self._shown = text


def wall(text: str) -> None:
    """A message on the terminals of all who are logged in."""
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
        _log.warning("nobody was told on a terminal: %s", error)


def _length(held: Held) -> float:
    return held.not_after - held.not_before
