"""The site's time: the host's clock, as long as it agrees with the time that has really passed.

A host's wall clock may jump: by hand, after a dead battery, by a wrong time server. What ends
leases and wipes disks does not follow a jump. Time goes on from the last moment that was right,
by the clock that counts since the host booted, until the wall clock agrees again or an operator
accepts the new time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

LONGEST_REBOOT = timedelta(hours=1)
"""How long a host may have been off before its clock alone is no longer believed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A host's two clocks at one moment."""

    wall: datetime
    boottime_s: float
    """Seconds since the host booted, suspension included. Nobody can set it."""


@dataclass(frozen=True, slots=True)
class Timekeeping:
    """The site's time `at` the moment when the host had been up for `boottime_s`."""

    at: datetime
    boottime_s: float

    def carried(self, boottime_s: float) -> datetime:
        """The site's time at another moment of the same boot."""
        return self.at + timedelta(seconds=boottime_s - self.boottime_s)


def trusting(reading: Reading) -> Timekeeping:
    """Timekeeping by the wall clock, whatever it was before."""
    return Timekeeping(reading.wall, reading.boottime_s)


def follow(kept: Timekeeping, reading: Reading, tolerance: timedelta) -> Timekeeping:
    """Follow the wall clock, as after a correction by NTP, unless it jumped."""
    if abs(ahead(kept, reading)) <= tolerance:
        return trusting(reading)
    return kept


def ahead(kept: Timekeeping, reading: Reading) -> timedelta:
    """How far the wall clock is ahead of the site's time; negative if it is behind."""
    return reading.wall - kept.carried(reading.boottime_s)


def resume(
    reading: Reading,
    tolerance: timedelta,
    *,
    same_boot: Timekeeping | None,
    last: datetime | None,
    witness: datetime | None,
) -> Timekeeping:
    """Keep time from the start of a daemon on.

    If the host has not rebooted since it last kept time (`same_boot`), the time that has passed is
    known. Otherwise it is not: the wall clock must then agree with the clock of another host
    (`witness`), or without one, come shortly after the `last` time that is known of the site. A
    site that starts for the first time has only its wall clock.
    """
    if same_boot is not None:
        return same_boot
    if witness is not None and abs(reading.wall - witness) > tolerance:
        return Timekeeping(witness, reading.boottime_s)
    if witness is None and last is not None and not _shortly_after(last, reading.wall, tolerance):
        return Timekeeping(last, reading.boottime_s)
    return trusting(reading)


def _shortly_after(last: datetime, wall: datetime, tolerance: timedelta) -> bool:
    return -tolerance <= wall - last <= LONGEST_REBOOT


def disagreement(
    host: str, wall_ahead: timedelta, database_ahead: timedelta, tolerance: timedelta
) -> str:
    """What is wrong with a host's clock or with the database's, both seen from the host's
    timekeeping; empty if nothing is."""
    found = []
    if abs(wall_ahead) > tolerance:
        found.append(
            f"the clock of {host} is {_apart(wall_ahead)} the time that has passed; leases and "
            "reservations go on by the latter"
        )
    if abs(database_ahead) > tolerance:
        found.append(f"the database's clock is {_apart(database_ahead)} the time that {host} keeps")
    return "; ".join(found)


def _apart(difference: timedelta) -> str:
    whole = timedelta(seconds=round(abs(difference).total_seconds()))
    return f"{whole} {'ahead of' if difference > timedelta() else 'behind'}"
