"""Reads sensors and what is new in the event logs through the BMCs every few minutes.

It records the readings for the judge. Any number of processes share the work: whoever moves a
server's due time ahead reads it. The lifecycle deals with a BMC that does not answer.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import or_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select

from provisioner.domain.failures import Failure, defect
from provisioner.domain.health.bmc_log import logged
from provisioner.domain.health.sensors import FRESH, kept
from provisioner.domain.lifecycle import State
from provisioner.drivers.bmc import (
    Bmc,
    BmcCommandFailed,
    BmcLoginRefused,
    BmcTarget,
    LogPosition,
    Power,
)
from provisioner.fleet.servers import bmc_target
from provisioner.loops import Loop
from provisioner.store.database import Database, DatabaseUnavailable
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import BmcReading, Lease, Server

EVERY = timedelta(minutes=5)
_JITTER = 0.1
AT_ONCE = 12
"""Fewer than the driver's readers, so that some stay free for requests by hand."""
LIMIT_S = 60.0
"""Time limit for one reading; a BMC takes some seconds."""
AFTER_REFUSAL = timedelta(hours=1)
"""Pause after a refused login: several in a row may lock the account."""
QUIET = timedelta(minutes=2)
"""How long before a lease ends its BMC is left alone: reclaiming needs it at once."""

READ_IN = (
    State.SANITISING,
    State.VALIDATING,
    State.AVAILABLE,
    State.LEASED,
    State.QUARANTINED,
)
"""In other states the provisioner or a person may be switching the power."""


class SensorPoll(Loop):
    """Runs beside the judge, which evaluates the readings."""

    name: ClassVar[str] = "sensors"

    def __init__(
        self,
        database: Database,
        bmc: Bmc,
        box: SecretBox,
        *,
        clock: Callable[[], datetime],
        site: str = "",
        period: timedelta = timedelta(seconds=3),
    ) -> None:
        super().__init__(period=period, clock=clock, concurrency=AT_ONCE)
        self._database = database
        self._bmc = bmc
        self._box = box
        self._site = site

    async def turn(self, now: datetime) -> None:
        """Start reading the servers that are due. After a defect, the next due time applies."""
        for server_id, due_at in (await self._claim(now, self.workers.free)).items():
            self.workers.start(server_id, self._read(server_id, due_at))

    async def _claim(self, now: datetime, limit: int) -> dict[str, datetime]:
        """Claim servers that are due, and return them with their next due time.

        That time is the claim: a reading counts only while nobody has moved it.
        """
        if limit <= 0:
            return {}
        ending = select(Lease.server_id).where(
            col(Lease.ended_at).is_(None), col(Lease.ends_at) <= now + QUIET
        )
        query = (
            select(Server.id)
            .outerjoin(BmcReading, col(BmcReading.server_id) == col(Server.id))
            .where(
                col(Server.state).in_(READ_IN),
                col(Server.bmc_lost_at).is_(None),
                col(Server.id).not_in(ending),
                or_(col(BmcReading.due_at).is_(None), col(BmcReading.due_at) <= now),
            )
            .order_by(col(BmcReading.due_at).nulls_first())
            .limit(limit)
        )
        if self._site:
            query = query.where(Server.site == self._site)
        async with self._database.read() as session:
            due = (await session.exec(query)).all()
        if not due:
            return {}
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        rows = insert(BmcReading).values(
            [
                {"server_id": server_id, "due_at": now + _interval(), "sensors": [], "error": ""}
                for server_id in due
            ]
        )
        async with self._database.write() as session:
            claimed = await session.exec(
                rows.on_conflict_do_update(
                    index_elements=["server_id"],
                    set_={"due_at": rows.excluded.due_at},
                    where=col(BmcReading.due_at) <= now,
                ).returning(col(BmcReading.server_id), col(BmcReading.due_at))
            )
            return {server_id: due_at for server_id, due_at in claimed.all()}  # noqa: C416  # rows

    async def _read(self, server_id: str, due_at: datetime) -> None:
        async with self._database.read() as session:
            server = await session.get_one(Server, server_id)
            last = await session.get(BmcReading, server_id)
        try:
            news = await self._news(server, last)
        except DatabaseUnavailable:
            raise
        except Exception as error:
            # It is said where the server's health is shown; the loop counts and logs it.
            await self._write(server_id, due_at, {"error": defect(error).reason})
            raise
        await self._write(server_id, due_at, news)

    async def _news(self, server: Server, last: BmcReading | None) -> dict[str, Any]:
        """What is to be written of a server's sensors and event log."""
        target, log, error = bmc_target(server, self._box), last.log if last else None, ""
        try:
            async with asyncio.timeout(LIMIT_S):
                sensors = await self._sensors(target)
                try:
                    log = await self._log(target, server, last)
                except BmcCommandFailed as failure:  # a BMC may have no log
                    error = str(failure)
        except TimeoutError:
            return {"error": f"the BMC did not report all of its sensors within {LIMIT_S:g} s"}
        except BmcLoginRefused as refused:
            return {"error": str(refused), "due_at": self.clock() + AFTER_REFUSAL}
        except Failure as failure:
            return {"error": str(failure)}
        now = self.clock()
        fresh = last is not None and last.read_at is not None and now - last.read_at <= FRESH
        before = last.sensors if last is not None and fresh else ()
        return {"sensors": kept(sensors, before), "log": log, "read_at": now, "error": error}

    async def _write(self, server_id: str, due_at: datetime, news: Mapping[str, Any]) -> None:
        async with self._database.write() as session:
            # Void if the server was repaired meanwhile, or another process has taken over.
            await session.exec(
                update(BmcReading)
                .where(col(BmcReading.server_id) == server_id, col(BmcReading.due_at) == due_at)
                .values(**news)
            )

    async def _sensors(self, target: BmcTarget) -> list[Mapping[str, Any]]:
        """Read the sensors; none while the server is off, as fans and power supplies are idle."""
        if await self._bmc.power(target) is Power.OFF:
            return []
        return [asdict(sensor) for sensor in await self._bmc.sensors(target)]

    async def _log(
        self, target: BmcTarget, server: Server, last: BmcReading | None
    ) -> dict[str, Any]:
        """Judge what is new in the event log: since the last reading, the repair or enrolment."""
        before: Mapping[str, Any] = (last.log if last else None) or {"after": None, "entries": []}
        after = LogPosition(**before["after"]) if before["after"] else None
        part = await self._bmc.new_log_entries(target, after)
        read_at = last.read_at if last else None
        since = None if part.follows else read_at or server.last_used_at
        entries = [asdict(entry) for entry in part.entries]
        return {
            "after": asdict(part.position) if part.position else None,
            "entries": logged(entries, before["entries"], self.clock(), since=since),
        }


def _interval() -> timedelta:
    return EVERY * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  # spread over time
