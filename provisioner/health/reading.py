"""What the judge reads: which agents reported when, their reports, and the verdicts so far."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Text, bindparam, cast
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health import Finding, Sample, Verdict
from provisioner.domain.health.sensors import FRESH
from provisioner.domain.health.verdict import AGAIN_WITHIN
from provisioner.store.tables import (
    AgentIdentity,
    BmcReading,
    HealthFinding,
    Server,
    ServerHealth,
)


@dataclass(frozen=True, slots=True)
class Head:
    """The agent that speaks for a server, and when it did."""

    identity_id: str
    server_id: str
    seen_at: datetime
    reported_at: datetime
    """When the report that tells the health came; others only show that the agent lives."""


@dataclass(frozen=True, slots=True)
class Told:
    """A head's report, and what else a verdict needs."""

    head: Head
    report: str
    """JSON; of many that are read at once, each becomes objects only when it is judged."""
    gpus_expected: int
    sensors: Sequence[Mapping[str, Any]]
    """A fresh reading of its BMC's; empty when there is none."""
    stored_at: datetime | None
    """`judged_at` of the server's stored verdict, if there is one."""

    def sample(self, listening_since: datetime) -> Sample:
        """The report as of when the agent was heard last: since then it told nothing new. Nobody
        was silent while nobody listened."""
        at = max(self.head.seen_at, listening_since)
        report = from_json(self.report)
        older = max(0.0, (at - self.head.reported_at).total_seconds())
        return Sample.of({**report, "uptime_s": report["uptime_s"] + older}, at, self.sensors)


_HEAD: tuple[Any, ...] = (
    AgentIdentity.id,
    AgentIdentity.server_id,
    AgentIdentity.seen_at,
    AgentIdentity.reported_at,
)


_TOLD = (
    select(  # type: ignore[call-overload]
        *_HEAD,
        cast(col(AgentIdentity.report), Text),
        col(Server.expect)["gpus"].as_integer(),
        BmcReading.sensors,
        ServerHealth.judged_at,
    )
    .join(Server, col(Server.id) == col(AgentIdentity.server_id))
    .outerjoin(ServerHealth, col(ServerHealth.server_id) == col(Server.id))
    .outerjoin(
        BmcReading,
        (col(BmcReading.server_id) == col(Server.id))
        & (col(BmcReading.read_at) > bindparam("fresh")),
    )
    .where(
        col(AgentIdentity.id).in_(bindparam("identities", expanding=True)),
        col(AgentIdentity.revoked_at).is_(None),
    )
)
"""Put together once: it is asked ten times a second."""


async def heads(
    session: AsyncSession, site: str, reported_since: datetime | None = None
) -> dict[str, Head]:
    """By server, the agent that was heard last; of all, or of those that reported since."""
    query = (
        select(*_HEAD)
        .join(Server, col(Server.id) == col(AgentIdentity.server_id))
        .where(
            col(AgentIdentity.revoked_at).is_(None),
            col(AgentIdentity.seen_at).is_not(None),
            col(AgentIdentity.reported_at).is_not(None),
        )
        .execution_options(yield_per=500)
    )
    if site:
        query = query.where(Server.site == site)
    if reported_since is not None:
        query = query.where(col(AgentIdentity.reported_at) >= reported_since)
    found: dict[str, Head] = {}
    async for rows in (await session.stream(query)).partitions():
        for row in rows:
            head = Head(*row)
            other = found.get(head.server_id)
            if other is None or other.seen_at < head.seen_at:
                found[head.server_id] = head
    return found


async def told(session: AsyncSession, those: Iterable[Head], now: datetime) -> dict[str, Told]:
    """By server. A report that came since, of the same agent, is as good."""
    identities = [head.identity_id for head in those]
    found = await session.exec(_TOLD, params={"identities": identities, "fresh": now - FRESH})
    by_server = {}
    for *words, report, gpus, sensors, stored_at in found:
        head = Head(*words)
        by_server[head.server_id] = Told(head, report, gpus or 0, sensors or (), stored_at)
    return by_server


async def stored_verdicts(
    session: AsyncSession, server_ids: Iterable[str]
) -> dict[str, tuple[Verdict, datetime]]:
    """By server, with the time by which the row is known."""
    found = await session.exec(
        select(ServerHealth).where(col(ServerHealth.server_id).in_(list(server_ids)))
    )
    return {row.server_id: (Verdict.from_dict(row.verdict), row.judged_at) for row in found.all()}


async def past_findings(session: AsyncSession, server_id: str, now: datetime) -> list[Finding]:
    """What was found at a server in the days in which a fault is known again."""
    found = await session.exec(
        select(HealthFinding).where(
            HealthFinding.server_id == server_id, col(HealthFinding.seen) > now - AGAIN_WITHIN
        )
    )
    return [
        Finding(
            rule=row.rule,
            part=row.part,
            level=row.level,
            action=row.action,
            summary=row.summary,
            source=row.source,
            boot_id=row.boot_id,
            since=row.since,
            seen=row.seen,
        )
        for row in found.all()
    ]
