"""The lease as this machine holds it: the newest grant, and the provisioner's clock by the boot
clock, kept over restarts of the agent and reboots of the machine. Ending access is left to
`agent.enforcer`, telling of it to `agent.notices`.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from agent.grants import GrantRefused
from agent.protocol import (
    Grant,
    LeaseState,
    Message,
    Object,
    ProtocolError,
    SignedGrant,
    read_count,
    read_number,
    read_seconds,
    read_text,
)

# What a reboot may give back, while no provisioner answers
SAVE_EVERY_S = 60.0
_log = logging.getLogger("agent")


@dataclasses.dataclass(frozen=True)
class Held(Message):
    """The state file. In boot `boot_id` the boot clock shows `clock_zero_s` more than the
    provisioner's clock; `remaining_s` was left when it was saved."""

    lease: str
    sequence: int
    not_before: float
    not_after: float
    boot_id: str
    clock_zero_s: float
    remaining_s: float
    untold_s: float
    """What is told so long before the end, or longer, was told."""

    @classmethod
    def _read(cls, data: Object) -> Held:
        return cls(
            lease=read_text(data, "lease"),
            sequence=read_count(data, "sequence"),
            not_before=read_seconds(data, "not_before"),
            not_after=read_seconds(data, "not_after"),
            boot_id=read_text(data, "boot_id"),
            clock_zero_s=read_number(data, "clock_zero_s"),
            remaining_s=read_seconds(data, "remaining_s"),
            untold_s=read_seconds(data, "untold_s"),
        )

    @classmethod
    def of(cls, grant: Grant, boot_id: str, clock_zero_s: float) -> Held:
        length = max(0.0, grant.not_after - grant.not_before)
        return cls(
            lease=grant.lease,
            sequence=grant.sequence,
            not_before=grant.not_before,
            not_after=grant.not_after,
            boot_id=boot_id,
            clock_zero_s=clock_zero_s,
            remaining_s=length,
            untold_s=length,
        )

    @property
    def deadline_s(self) -> float:
        """On the boot clock of its boot."""
        return self.not_after + self.clock_zero_s


class Lease:
    """The newest grant, and its end on the boot clock.

    Only the provisioner moves the end. It is told by its clock, of which each exchange says where
    it stands: after our request was sent and before its answer came. So neither the machine's wall
    clock nor a replayed or delayed answer gives time. A restart of the agent keeps the end; after
    a reboot, what was left at the last save counts until the provisioner answers.
    """

    def __init__(
        self,
        file: Path,
        boot_id: str,
        now: Callable[[], float],
        verified: Callable[[SignedGrant], Grant] | None,
        first: SignedGrant | None,
    ) -> None:
        """`first` is the configuration's grant, `verified` None where nothing is enforced (in the
        ramdisk); `file` keeps the state."""
        self._file = file
        self._boot_id = boot_id
        self._now = now
        self._verified = verified
        self._lock = threading.Lock()
        self._warned = False
        self._saved_at = 0.0
        self._listeners: list[Callable[[], None]] = []
        # one attribute, since the reporting and the enforcing thread both use it
        self._held: Held | None = None
        if verified is not None:
            self._held = self._resumed(self._grant(first))
            self._save()

    def listen(self, changed: Callable[[], None]) -> None:
        """Have it called after each change of the end."""
        self._listeners.append(changed)

    @property
    def expired(self) -> bool:
        held = self._held
        return held is not None and self._now() >= max(
            held.deadline_s, held.not_before + held.clock_zero_s
        )

    @property
    def remaining_s(self) -> float | None:
        """Seconds left, 0 when over; None without a lease."""
        held = self._held
        return None if held is None else max(0.0, held.deadline_s - self._now())

    @property
    def held(self) -> Held | None:
        """The newest grant, and what was told of its end."""
        return self._held

    def state(self, *, locked: bool) -> LeaseState | None:
        """The lease as it is reported."""
        held = self._held
        if held is None:
            return None
        remaining = max(0.0, held.deadline_s - self._now())
        return LeaseState(id=held.lease, remaining_s=round(remaining, 3), locked=locked)

    def take(self, signed: SignedGrant | None, *, echo: str, sent_s: float) -> None:
        """Take the provisioner's answer to a request with the nonce `echo`, sent when the boot
        clock showed `sent_s`. Without a grant that counts nothing changes."""
        if self._verified is None:
            return
        received_s = self._now()
        grant = self._grant(signed)
        if grant is None:
            return
        if grant.echo != echo:
            self._warn("it answers another request")
            return
        with self._lock:
            held = self._held
            if held is not None and grant.lease != held.lease:
                self._warn(f"it is of lease {grant.lease}, this system has {held.lease}")
                return
            if held is not None and grant.sequence < held.sequence:
                return  # overtaken on its way by a newer one
            # The provisioner's clock by ours is at least this, and at most that; within, what is
            # held stays: a slow answer says little
            least, most = sent_s - grant.issued_at, received_s - grant.issued_at
            zero = min(max(least, held.clock_zero_s), most) if held else least
            self._replace(grant, zero)
        self._warned = False
        if held is None or held.not_after != grant.not_after:
            _log.info("the lease ends in %.0f s", self.remaining_s)
            for changed in self._listeners:
                changed()

    def told(self, before_s: float) -> None:
        """Note that the end was told so long before it; an agent that is started again goes on
        from there."""
        with self._lock:
            if self._held is not None:
                self._held = dataclasses.replace(self._held, untold_s=before_s)
                self._save()

    def keep(self) -> None:
        """Save how much is left, now and then."""
        if self._now() - self._saved_at >= SAVE_EVERY_S:
            with self._lock:
                self._save()

    def _replace(self, grant: Grant, clock_zero_s: float) -> None:
        before, held = self._held, Held.of(grant, self._boot_id, clock_zero_s)
        if before is not None:
            # A later end is told again from where it now is
            moved = before.not_after != held.not_after
            left = held.deadline_s - self._now() if moved else 0.0
            held = dataclasses.replace(held, untold_s=max(before.untold_s, left))
        self._held = held
        if before is None or before.sequence != held.sequence:
            self._save()

    def _save(self) -> None:
        held = self._held
        if held is None:
            return
        self._saved_at = self._now()
        held = dataclasses.replace(held, remaining_s=max(0.0, held.deadline_s - self._saved_at))
        try:
            self._write(held.to_json())
        except OSError as error:  # a full disk must not keep the lease from ending
            _log.warning("%s: %s; a restart will go by the last save", self._file, error)

    def _write(self, text: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        written = self._file.with_suffix(".new")
        with written.open("w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        written.replace(self._file)

    def _resumed(self, first: Grant | None) -> Held | None:
        """What was saved of this lease, else the configuration's grant."""
        try:
            saved = Held.from_json(self._file.read_bytes())
        except (OSError, ProtocolError):  # not written yet, or damaged: the grant stands
            saved = None
        if saved is not None and (first is None or saved.lease == first.lease):
            if saved.boot_id == self._boot_id:
                return saved
            # Counted from the start of this boot
            zero = saved.remaining_s - saved.not_after
            return dataclasses.replace(saved, boot_id=self._boot_id, clock_zero_s=zero)
        if first is None:
            return None
        # It was granted before this system was booted
        return Held.of(first, self._boot_id, -first.issued_at)

    def _grant(self, signed: SignedGrant | None) -> Grant | None:
        """The grant if it counts; else the first of a row is warned of."""
        if self._verified is None:
            return None
        if signed is None:
            self._warn("there is none")
            return None
        try:
            return self._verified(signed)
        except GrantRefused as refused:
            self._warn(str(refused))
            return None

    def _warn(self, why: str) -> None:
        if not self._warned:
            _log.warning("the lease is not granted anew: %s", why)
        self._warned = True
