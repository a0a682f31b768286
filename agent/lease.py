"""The lease as this machine holds it: the newest grant, and its end on the boot clock.

It survives restarts of the agent and reboots of the machine. `agent.enforcer` ends access,
`agent.notices` warns about it.
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

# How much time a reboot can give back while the provisioner is unreachable.
SAVE_EVERY_S = 60.0
_log = logging.getLogger("agent")


@dataclasses.dataclass(frozen=True)
class Held(Message):
    """The state file.

    During boot `boot_id`, the boot clock is `clock_zero_s` ahead of the provisioner's clock;
    `remaining_s` was left when the file was saved.
    """

    lease: str
    sequence: int
    not_before: float
    not_after: float
    boot_id: str
    clock_zero_s: float
    remaining_s: float
    untold_s: float
    """Warnings due this long before the end, or longer, have been given."""

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
        """The end of the lease on the boot clock."""
        return self.not_after + self.clock_zero_s


class Lease:
    """The newest grant, and its end on the boot clock.

    Only the provisioner moves the end. It states the end by its own clock, and each exchange bounds
    that clock: the answer was issued after our request was sent and before it arrived. So neither
    the machine's wall clock nor a replayed or delayed answer can gain time. A restart of the agent
    keeps the end; after a reboot, what was left at the last save counts until the provisioner
    answers.
    """

    def __init__(
        self,
        file: Path,
        boot_id: str,
        now: Callable[[], float],
        verified: Callable[[SignedGrant], Grant] | None,
        first: SignedGrant | None,
    ) -> None:
        """`first` is the configuration's grant; `file` keeps the state.

        `verified` is None where nothing is enforced, which is in the ramdisk.
        """
        self._file = file
        self._boot_id = boot_id
        self._now = now
        self._verified = verified
        self._lock = threading.Lock()
        self._warned = False
        self._saved_at = 0.0
        self._listeners: list[Callable[[], None]] = []
        # One attribute, since the reporting and the enforcing thread both use it.
        self._held: Held | None = None
        if verified is not None:
            self._held = self._resumed(self._grant(first))
            self._save()

    def listen(self, changed: Callable[[], None]) -> None:
        """Call `changed` after each change of the end."""
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
        """The newest grant, and which warnings have been given."""
        return self._held

    def state(self, *, locked: bool) -> LeaseState | None:
        """Return the lease as it is reported."""
        held = self._held
        if held is None:
            return None
        remaining = max(0.0, held.deadline_s - self._now())
        return LeaseState(id=held.lease, remaining_s=round(remaining, 3), locked=locked)

    def take(self, signed: SignedGrant | None, *, echo: str, sent_s: float) -> None:
        """Process the answer to the request with nonce `echo`, sent at `sent_s` on the boot clock.

        Without a valid grant nothing changes.
        """
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
                return  # overtaken by a newer one
            # Bounds for the boot clock's lead over the provisioner's. While the held value lies
            # within them it stays: a slow answer says little.
            least, most = sent_s - grant.issued_at, received_s - grant.issued_at
            zero = min(max(least, held.clock_zero_s), most) if held else least
            self._replace(grant, zero)
        self._warned = False
        if held is None or held.not_after != grant.not_after:
            _log.info("the lease ends in %.0f s", self.remaining_s)
            for changed in self._listeners:
                changed()

    def told(self, before_s: float) -> None:
        """Record the warning due `before_s` before the end as given, also for after a restart."""
        with self._lock:
            if self._held is not None:
                self._held = dataclasses.replace(self._held, untold_s=before_s)
                self._save()

    def keep(self) -> None:
        """Save the remaining time every `SAVE_EVERY_S`."""
        if self._now() - self._saved_at >= SAVE_EVERY_S:
            with self._lock:
                self._save()

    def _replace(self, grant: Grant, clock_zero_s: float) -> None:
        before, held = self._held, Held.of(grant, self._boot_id, clock_zero_s)
        if before is not None:
            # After the end has moved, warnings start again from the time now left.
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
        """Return the saved state of this lease, or else the configuration's grant."""
        try:
            saved = Held.from_json(self._file.read_bytes())
        except (OSError, ProtocolError):  # not written yet, or damaged: the grant stands
            saved = None
        if saved is not None and (first is None or saved.lease == first.lease):
            if saved.boot_id == self._boot_id:
                return saved
            # Count from the start of this boot.
            zero = saved.remaining_s - saved.not_after
            return dataclasses.replace(saved, boot_id=self._boot_id, clock_zero_s=zero)
        if first is None:
            return None
        # It was granted before this system booted.
        return Held.of(first, self._boot_id, -first.issued_at)

    def _grant(self, signed: SignedGrant | None) -> Grant | None:
        """Return the grant if it is valid; log only the first refusal in a row."""
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
            _log.warning("the lease was not renewed: %s", why)
        self._warned = True
