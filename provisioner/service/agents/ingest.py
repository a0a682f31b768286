"""Takes reports into memory and writes them once a second, all in one transaction.

What the lifecycle waits for, an identity's first report and a lock, is written at once. A crash
loses at most a second of `seen_at`, and health data that the agent repeats within a minute.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

from aiohttp import web
from pydantic_core import to_json
from sqlalchemy import bindparam, or_, update
from sqlmodel import SQLModel, col
from sqlmodel.ext.asyncio.session import AsyncSession

from agent.protocol import Report
from provisioner.domain.access import Actor
from provisioner.loops import Loop
from provisioner.service.agents.links import Link, Links
from provisioner.service.context import SERVICES
from provisioner.store import audit
from provisioner.store.columns import JsonText
from provisioner.store.database import Database, DatabaseUnavailable, call_attention
from provisioner.store.tables import Lease

_SLICE = 200
"""Rows given to the driver at once: preparing them blocks this thread for some milliseconds."""
_Row = TypeVar("_Row")
_TABLE = SQLModel.metadata.tables["agent_identity"]
_LATER = (
    update(_TABLE)
    # Never backwards: a newer report may meanwhile have been written at once, or elsewhere.
    .where(or_(_TABLE.c.seen_at.is_(None), _TABLE.c.seen_at <= bindparam("at")))
    .values(seen_at=bindparam("at"))
)
_SEEN = _LATER.where(_TABLE.c.id.in_(bindparam("identities", expanding=True)))
_REPORTED = _LATER.where(_TABLE.c.id == bindparam("identity")).values(
    reported_at=bindparam("told_at"), report=bindparam("said", type_=JsonText)
)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is to be written for an identity, with its last report that is stored whole."""

    seen_at: datetime
    told_at: datetime | None = None
    said: str = ""

    def before(self, later: "_Kept") -> "_Kept":
        return later if later.said else replace(self, seen_at=later.seen_at)


class Ingest(Loop):
    """One per application. What waits to be written is bounded: one entry per identity."""

    name: ClassVar[str] = "reports"

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        *,
        period: timedelta = timedelta(seconds=1),
    ) -> None:
        super().__init__(period=period, clock=clock)
        self.links = Links(database)
        self._database = database
        self._waiting: dict[str, _Kept] = {}
        self._loaded = False

    async def take(self, link: Link, said: Report) -> None:
        """Keep a report, unless it is older than the newest one of its boot.

        It is stored whole if it has health data or is the first of its boot; any other is only a
        sign of life.
        """
        if link.knows(said):
            return
        now = self.clock()
        kept = _Kept(now)
        if said.health is not None or said.boot_id != link.boot_id:
            kept = _Kept(now, now, to_json(said.to_dict()).decode())
        if link.lease is not None and (not link.seen or link.newly_locked(said)):
            await self._write_at_once(link, link.lease, kept, locked=link.newly_locked(said))
        else:
            self._wait(link.identity_id, kept)
        if not link.knows(said):  # a newer one may have arrived meanwhile
            link.boot_id, link.uptime_s = said.boot_id, said.uptime_s

    async def _write_at_once(self, link: Link, lease: Lease, kept: _Kept, *, locked: bool) -> None:
        async with self._database.write() as session:
            await call_attention(session, link.server_id)
            if locked:
                await session.exec(
                    update(Lease)
                    .where(col(Lease.id) == lease.id, col(Lease.locked_at).is_(None))
                    .values(locked_at=kept.seen_at)
                )
                actor = Actor.tenant_agent(link.server_id, link.account_id)
                audit.record(session, actor, "lease.locked", lease.id, kept.seen_at)
            await _write(session, {link.identity_id: kept})
        link.seen = True
        if locked:
            lease.locked_at = kept.seen_at

    def _wait(self, identity_id: str, kept: _Kept) -> None:
        earlier = self._waiting.get(identity_id)
        self._waiting[identity_id] = earlier.before(kept) if earlier else kept

    async def turn(self, now: datetime) -> None:
        """Write what waits, and pick up what other processes revoked or extended."""
        if not self._loaded:
            with self.status.contained("the links of all agents"):
                await self.links.load_all()
            self._loaded = True  # a missing link is loaded when its agent reports
        try:
            await self.flush()
        finally:
            await self.links.refresh()

    async def close(self) -> None:
        """Write what was taken since the last turn."""
        await self.flush()

    async def flush(self) -> None:
        """Write all that waits. During an outage it keeps waiting. A report that cannot be written
        does not hold up the others."""
        batch, self._waiting = self._waiting, {}
        try:
            try:
                await self._write(batch)
                batch = {}
            except DatabaseUnavailable:
                raise
            except Exception:
                for identity_id in list(batch):
                    with self.status.contained(identity_id):
                        await self._write({identity_id: batch[identity_id]})
                    del batch[identity_id]
        finally:
            newer, self._waiting = self._waiting, batch
            for identity_id, kept in newer.items():
                self._wait(identity_id, kept)

    async def _write(self, batch: dict[str, _Kept]) -> None:
        if batch:
            async with self._database.write() as session:
                await _write(session, batch)


async def _write(session: AsyncSession, batch: dict[str, _Kept]) -> None:
    """Write signs of life in one batch per second, dated by the last of that second."""
    seen: defaultdict[datetime, dict[str, datetime]] = defaultdict(dict)
    reported: list[dict[str, Any]] = []
    for identity_id, kept in sorted(batch.items()):  # one order in all processes
        if kept.said:
            values = {"identity": identity_id, "at": kept.seen_at}
            reported.append({**values, "told_at": kept.told_at, "said": kept.said})
        else:
            seen[kept.seen_at.replace(microsecond=0)][identity_id] = kept.seen_at
    connection = await session.connection()
    for lives in seen.values():
        for identities in _slices(list(lives)):
            values = {"identities": identities, "at": max(lives.values())}
            await connection.execute(_SEEN, values)
    for rows in _slices(reported):
        await connection.execute(_REPORTED, rows)


def _slices(rows: list[_Row]) -> Iterator[list[_Row]]:
    for start in range(0, len(rows), _SLICE):
        yield rows[start : start + _SLICE]


INGEST = web.AppKey("ingest", Ingest)


async def running(app: web.Application) -> AsyncIterator[None]:
    """Run the ingest for the application's lifetime; at its end, all reports are written."""
    async with app[SERVICES].driver.running(app[INGEST]):
        yield
