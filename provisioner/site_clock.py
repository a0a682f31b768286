"""The site's clock, which all decisions go by, and the loop that checks it.

`SiteClock` is the only place that reads the host's clocks for them. It holds the time where the
rules of `domain.clock` say so, also across restarts: each host's timekeeping is a row. The loop
opens one incident for the site while any host's clock, or the database's, disagrees.
"""

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, NamedTuple

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import PROVISIONER
from provisioner.domain.clock import (
    Reading,
    Timekeeping,
    ahead,
    disagreement,
    follow,
    resume,
    trusting,
)
from provisioner.domain.incidents import IncidentKind
from provisioner.incidents import close_site_incident, open_site_incident
from provisioner.loops import Loop
from provisioner.store import audit
from provisioner.store.database import Database
from provisioner.store.tables import HostClock

_SILENT = timedelta(minutes=1)
"""A host that has not beaten for so long has no daemon any more: its clock does not matter."""
_NEXT_ACTION = (
    "check the time on the host (timedatectl) and correct it; if its clock is right, run there: "
    "ironlease accept-clock"
)
_DATABASE_CLOCK = text(
    "SELECT clock_timestamp(), COALESCE(inet_server_addr() <> inet_client_addr(), false)"
)


class Host(NamedTuple):
    """The machine that a daemon runs on."""

    name: str
    boot_id: str
    read: Callable[[], Reading]


def this_host() -> Host:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Host(socket.gethostname(), boot_id, _read_clocks)


def _read_clocks() -> Reading:
    return Reading(datetime.now(UTC), time.clock_gettime(time.CLOCK_BOOTTIME))


class SiteClock:
    """Returns the site's time when called."""

    def __init__(self, host: Host, kept: Timekeeping, tolerance: timedelta) -> None:
        self.host = host
        self.kept = kept
        self.tolerance = tolerance

    def __call__(self) -> datetime:
        reading = self.read()
        return self.kept.carried(reading.boottime_s)

    def read(self) -> Reading:
        """Read the host's clocks, and follow the wall clock unless it jumped."""
        reading = self.host.read()
        self.kept = follow(self.kept, reading, self.tolerance)
        return reading


async def start_clock(
    database: Database, tolerance: timedelta, host: Host | None = None
) -> SiteClock:
    """The site's clock, from where this host or another one left it."""
    host = host or this_host()
    async with database.read() as session:
        rows = await _rows(session)
        witness = await _database_clock(session, database)
    reading, own = host.read(), rows.get(host.boot_id)
    kept = resume(
        reading,
        tolerance,
        same_boot=Timekeeping(own.at, own.boottime_s) if own else None,
        last=max((row.at for row in rows.values()), default=None),
        witness=witness.at if witness and witness.elsewhere else None,
    )
    return SiteClock(host, kept, tolerance)


class ClockCheck(Loop):
    """One per daemon: keeps its host's row, and the site's incident."""

    name: ClassVar[str] = "clock"

    def __init__(
        self,
        database: Database,
        site_clock: SiteClock,
        *,
        period: timedelta = timedelta(seconds=5),
    ) -> None:
        super().__init__(period=period, clock=site_clock)
        self._database = database
        self._clock = site_clock

    async def turn(self, now: datetime) -> None:
        clock = self._clock
        async with self._database.write() as session:
            rows = await _rows(session)
            asked = clock.read()
            database = await _database_clock(session, self._database)
            reading = clock.read()
            row = rows.setdefault(clock.host.boot_id, _new_row(clock.host, reading))
            accepted, row.accepted = row.accepted, False
            kept = trusting(reading) if accepted else clock.kept
            row.at, row.boottime_s = kept.carried(reading.boottime_s), reading.boottime_s
            row.beat_at = database.at if database else row.at
            row.problem = disagreement(
                clock.host.name,
                ahead(kept, reading),
                database.at - row.at if database else timedelta(),
                clock.tolerance + timedelta(seconds=reading.boottime_s - asked.boottime_s),
            )
            session.add(row)
            await _forget_earlier_boots(session, row, rows)
            await _tell(session, rows, row)
        if accepted:
            clock.kept = kept


async def accept_clock(database: Database, host: Host | None = None) -> str:
    """Have this host's daemon follow its wall clock at its next turn; return what was wrong with
    it, or nothing if nothing was."""
    host = host or this_host()
    async with database.write() as session:
        row = await session.get(HostClock, host.boot_id)
        if row is None or not row.problem:
            return ""
        row.accepted = True
        audit.record(
            session, PROVISIONER, "clock.accept", host.name, host.read().wall, problem=row.problem
        )
        return row.problem


class _DatabaseClock(NamedTuple):
    at: datetime
    elsewhere: bool
    """It is another host's clock."""


async def _database_clock(session: AsyncSession, database: Database) -> _DatabaseClock | None:
    """None on SQLite, which has none of its own."""
    if database.is_sqlite:
        return None
    found = await (await session.connection()).execute(_DATABASE_CLOCK)
    return _DatabaseClock(*found.one())


async def _rows(session: AsyncSession) -> dict[str, HostClock]:
    return {row.boot_id: row for row in await session.exec(select(HostClock))}


def _new_row(host: Host, reading: Reading) -> HostClock:
    return HostClock(
        boot_id=host.boot_id,
        host=host.name,
        at=reading.wall,
        boottime_s=reading.boottime_s,
        beat_at=reading.wall,
    )


async def _forget_earlier_boots(
    session: AsyncSession, own: HostClock, rows: dict[str, HostClock]
) -> None:
    for row in list(rows.values()):
        if row.host == own.host and row is not own and _is_silent(row, own):
            await session.delete(rows.pop(row.boot_id))


def _is_silent(row: HostClock, own: HostClock) -> bool:
    return abs(own.beat_at - row.beat_at) > _SILENT


async def _tell(session: AsyncSession, rows: dict[str, HostClock], own: HostClock) -> None:
    problems = {row.problem for row in rows.values() if row.problem and not _is_silent(row, own)}
    if problems:
        reason = "; ".join(sorted(problems))
        await open_site_incident(session, IncidentKind.CLOCK, reason, _NEXT_ACTION, now=own.at)
    else:
        await close_site_incident(session, IncidentKind.CLOCK, now=own.at)
