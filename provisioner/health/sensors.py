"""Reads power supplies, fans and temperatures through the BMCs, some minutes apart.

It records what was read, for the judge. Any number of processes share the work: whoever moves a
server's due time ahead reads it. A BMC that does not answer is the lifecycle's to deal with.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select

from provisioner.domain.failures import Failure
from provisioner.domain.health.sensors import FRESH, kept
from provisioner.domain.lifecycle import State
from provisioner.drivers.bmc import Bmc, BmcLoginRefused, BmcTarget, Power
from provisioner.fleet.servers import bmc_target
from provisioner.store.database import Database, DatabaseUnavailable, defect_of
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import BmcReading, Lease, Server

log = logging.getLogger(__name__)

POLL_S = 3.0
EVERY = timedelta(minutes=5)
_JITTER = 0.1
AT_ONCE = 12
"""Fewer than the driver has readers: some are left for who asks by hand."""
LIMIT_S = 60.0
"""For one reading; a BMC takes some seconds."""
AFTER_REFUSAL = timedelta(hours=1)
"""Refused logins in a row may lock the account."""
QUIET = timedelta(minutes=2)
"""Before a lease ends its BMC is not read: it will be needed at once."""

READ_IN = (
    State.SANITISING,
    State.VALIDATING,
    State.AVAILABLE,
    State.LEASED,
    State.QUARANTINED,
)
"""Elsewhere the power goes off and on, by the provisioner or by a person."""


class SensorPoll:
    """Runs in the daemon's loop, beside the judge."""

    def __init__(
        self,
        database: Database,
        bmc: Bmc,
        box: SecretBox,
        *,
        clock: Callable[[], datetime],
        site: str = "",
    ) -> None:
        self._database = database
        self._bmc = bmc
        self._box = box
        self._clock = clock
        self._site = site
        self._reading: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            while True:
                with suppress(DatabaseUnavailable):
                    await self._start_due()
                await asyncio.sleep(POLL_S)
        finally:
            for task in self._reading:
                task.cancel()
            await asyncio.gather(*self._reading, return_exceptions=True)

    async def settle(self) -> None:
        """Read all that is due at this instant (for clocks that tests turn)."""
        while await self._start_due() or self._reading:
            await asyncio.gather(*self._reading)

    async def _start_due(self) -> int:
        claimed = await self._claim(AT_ONCE - len(self._reading))
        for server_id, due_at in claimed.items():
            task = asyncio.create_task(self._read(server_id, due_at))
            self._reading.add(task)
            task.add_done_callback(self._ended)
        return len(claimed)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._reading.discard(task)
        if (error := defect_of(task)) is not None:
            # A defect of ours: it is tried again when the server is due.
            log.error("a server's sensors were not read", exc_info=error)

    async def _claim(self, limit: int) -> dict[str, datetime]:
        """Due servers that no other process took meanwhile, with their next due time."""
        now = self._clock()
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
        news: dict[str, Any]
        try:
            async with asyncio.timeout(LIMIT_S):
                sensors = await self._sensors(bmc_target(server, self._box))
        except TimeoutError:
            news = {"error": f"the BMC did not tell all of its sensors within {LIMIT_S:g} s"}
        except BmcLoginRefused as refused:
            news = {"error": str(refused), "due_at": self._clock() + AFTER_REFUSAL}
        except Failure as failure:
            news = {"error": str(failure)}
        else:
            now = self._clock()
            fresh = last is not None and last.read_at is not None and now - last.read_at <= FRESH
            before = last.sensors if last is not None and fresh else ()
            news = {"sensors": kept(sensors, before), "read_at": now, "error": ""}
        async with self._database.write() as session:
            # Void when its server was repaired meanwhile, or another process reads it by now.
            await session.exec(
                update(BmcReading)
                .where(col(BmcReading.server_id) == server_id, col(BmcReading.due_at) == due_at)
                .values(**news)
            )

    async def _sensors(self, target: BmcTarget) -> list[Mapping[str, Any]]:
        """None of a server that is off: its fans stand still, and its power supplies rest."""
        if await self._bmc.power(target) is Power.OFF:
            return []
        return [asdict(sensor) for sensor in await self._bmc.sensors(target)]


def _interval() -> timedelta:
    return EVERY * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  # spread over time
