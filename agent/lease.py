"""The lease as this machine holds it: how long it still runs by the boot clock, kept over restarts
of the agent and reboots of the machine. Ending access is left to `agent.enforcer`.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable
from pathlib import Path

from agent.protocol import (
    LeaseState,
    LeaseTerm,
    Message,
    Object,
    ProtocolError,
    read_seconds,
    read_text,
)

_log = logging.getLogger("agent")


@dataclasses.dataclass(frozen=True)
class _Saved(Message):
    """The state file. `remaining_s` was true at `deadline_s - remaining_s` of boot `boot_id`."""

    lease: str
    boot_id: str
    deadline_s: float
    remaining_s: float

    @classmethod
    def _read(cls, data: Object) -> _Saved:
        return cls(
            lease=read_text(data, "lease"),
            boot_id=read_text(data, "boot_id"),
            deadline_s=read_seconds(data, "deadline_s"),
            remaining_s=read_seconds(data, "remaining_s"),
        )


class Lease:
    """A deadline on the boot clock.

    Only the provisioner moves it: `update` takes its answers, whether they shorten or lengthen.
    A restart of the agent keeps it; after a reboot, what was left at the last save counts until
    the provisioner answers, so a reboot never gives time.
    """

    def __init__(
        self, file: Path, boot_id: str, now: Callable[[], float], first: LeaseTerm | None
    ) -> None:
        """`first` is the lease of the configuration; `file` keeps the state."""
        self._file = file
        self._boot_id = boot_id
        self._now = now
        # one attribute, since the reporting and the enforcing thread both use it
        self._held: _Saved | None = None
        if first is not None:
            self._take(first.id, self._resumed(first))

    @property
    def expired(self) -> bool:
        return self.remaining_s == 0

    @property
    def remaining_s(self) -> float | None:
        """Seconds left, 0 when over; None without a lease."""
        held = self._held
        return None if held is None else max(0.0, held.deadline_s - self._now())

    def state(self, *, locked: bool) -> LeaseState | None:
        """The lease as it is reported."""
        held = self._held
        if held is None:
            return None
        remaining = max(0.0, held.deadline_s - self._now())
        return LeaseState(id=held.lease, remaining_s=round(remaining, 3), locked=locked)

    def update(self, term: LeaseTerm | None) -> None:
        """Take the provisioner's answer; without a lease there is nothing to enforce."""
        if term is None:
            self._held = None
            self._file.unlink(missing_ok=True)
        else:
            self._take(term.id, self._now() + term.remaining_s)

    def _take(self, lease: str, deadline: float) -> None:
        remaining = max(0.0, deadline - self._now())
        self._held = _Saved(lease, self._boot_id, deadline, remaining)
        try:
            self._save(self._held.to_json())
        except OSError as error:  # a full disk must not keep the lease from ending
            _log.warning("%s: %s; a restart will go by the last save", self._file, error)

    def _save(self, text: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        written = self._file.with_suffix(".new")
        with written.open("w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        written.replace(self._file)

    def _resumed(self, first: LeaseTerm) -> float:
        granted = self._now() + first.remaining_s
        try:
            saved = _Saved.from_json(self._file.read_bytes())
        except (OSError, ProtocolError):  # not written yet, or damaged: the grant stands
            return granted
        if saved.lease != first.id:
            return granted
        if saved.boot_id == self._boot_id:
            return saved.deadline_s
        return self._now() + saved.remaining_s
