"""The judge's queries: which agents reported when, their reports, and the verdicts so far."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Text, bindparam, cast
from sqlmodel import col, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.hardware import expected_gpus
from provisioner.domain.health import Finding, Sample
from provisioner.domain.health.sensors import FRESH
from provisioner.domain.health.verdict import AGAIN_WITHIN
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import State
from provisioner.store.tables import (
    AgentIdentity,
    BmcReading,
    HealthFinding,
    Incident,
    Lease,
    Server,
    ServerHealth,
)


@dataclass(frozen=True, slots=True)
class ReportHeader:
    """The agent that reports for a server, and when it last did."""

    identity_id: str
    server_id: str
    lease_id: str | None
    """None for our ramdisk."""
    seen_at: datetime
    reported_at: datetime
    """When the last report with health data arrived; other reports are only signs of life."""
    started_at: datetime | None
    """When its customer last switched the server on: it could not report before."""


@dataclass(frozen=True, slots=True)
class AgentReport:
    """An agent's latest report, with everything else that a verdict needs."""

    header: ReportHeader
    report: str
    """JSON, parsed only when it is judged: many are read at once."""
    gpus_expected: int
    sensors: Sequence[Mapping[str, Any]]
    """A fresh reading from its BMC, and its event log's; empty when there is none."""
    stored_at: datetime | None
    """`judged_at` of the server's stored verdict, if there is one."""
    set_aside: bool
    """Whether an open incident says that its reports cannot be judged."""

    def sample(self, listening_since: datetime) -> Sample:
        """Return the report as of the agent's last sign of life.

        Time before `listening_since` does not count as silence.
        """
        header = self.header
        at = max(header.seen_at, listening_since, header.started_at or header.seen_at)
        report = from_json(self.report)
        older = max(0.0, (at - header.reported_at).total_seconds())
        return Sample.of(
            {**report, "uptime_s": report["uptime_s"] + older},
            at,
            self.sensors,
            header.lease_id or "",
        )


_HEADER: tuple[Any, ...] = (
    AgentIdentity.id,
    AgentIdentity.server_id,
    AgentIdentity.lease_id,
    AgentIdentity.seen_at,
    AgentIdentity.reported_at,
    Lease.started_at,
)


_LATEST = (
    select(  # type: ignore[call-overload]
        *_HEADER,
        cast(col(AgentIdentity.report), Text),
        Server.expect,
        BmcReading.sensors,
        BmcReading.log,
        ServerHealth.judged_at,
        exists().where(
            col(Incident.server_id) == col(AgentIdentity.server_id),
            col(Incident.kind) == IncidentKind.REPORT,
            col(Incident.closed_at).is_(None),
        ),
    )
    .join(Server, col(Server.id) == col(AgentIdentity.server_id))
    .outerjoin(Lease, col(Lease.id) == col(AgentIdentity.lease_id))
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
"""Built once: it runs ten times a second."""


async def report_headers(
    session: AsyncSession, site: str, reported_since: datetime | None = None
) -> dict[str, ReportHeader]:
    """Return each server's most recently seen agent.

    Leaves out servers that are retired or stopped by their customers, and those that have not
    reported since `reported_since`, if it is given.
    """
    query = (
        select(*_HEADER)
        .join(Server, col(Server.id) == col(AgentIdentity.server_id))
        .outerjoin(Lease, col(Lease.id) == col(AgentIdentity.lease_id))
        .where(
            col(AgentIdentity.revoked_at).is_(None),
            col(Lease.stopped_at).is_(None),
            col(AgentIdentity.seen_at).is_not(None),
            col(AgentIdentity.reported_at).is_not(None),
            Server.state != State.RETIRED,
        )
        .execution_options(yield_per=500)
    )
    if site:
        query = query.where(Server.site == site)
    if reported_since is not None:
        query = query.where(col(AgentIdentity.reported_at) >= reported_since)
    found: dict[str, ReportHeader] = {}
    async for rows in (await session.stream(query)).partitions():
        for row in rows:
            header = ReportHeader(*row)
            other = found.get(header.server_id)
            if other is None or other.seen_at < header.seen_at:
                found[header.server_id] = header
    return found


async def latest_reports(
    session: AsyncSession, headers: Iterable[ReportHeader], now: datetime
) -> dict[str, AgentReport]:
    """Return the agents' reports by server; they may be newer than the headers."""
    identities = [header.identity_id for header in headers]
    found = await session.exec(_LATEST, params={"identities": identities, "fresh": now - FRESH})
    by_server = {}
    for *fields, report, expect, sensors, log, stored_at, set_aside in found:
        header = ReportHeader(*fields)
        by_server[header.server_id] = AgentReport(
            header, report, expected_gpus(expect), _bmc(sensors, log), stored_at, set_aside
        )
    return by_server


def _bmc(
    sensors: Sequence[Mapping[str, Any]] | None, log: Mapping[str, Any] | None
) -> Sequence[Mapping[str, Any]]:
    """Sensors and what counts of the event log; nothing while no sensors were read."""
    return [*sensors, *(log["entries"] if log else ())] if sensors else ()


async def unreported(session: AsyncSession, site: str, found: Collection[str]) -> list[str]:
    """Return servers with an open report incident whose agents are not among those `found`."""
    query = (
        select(Server.id)
        .join(Incident, col(Incident.server_id) == col(Server.id))
        .where(Incident.kind == IncidentKind.REPORT, col(Incident.closed_at).is_(None))
    )
    if site:
        query = query.where(Server.site == site)
    return [server_id for server_id in await session.exec(query) if server_id not in found]


async def stored_verdicts(
    session: AsyncSession, server_ids: Iterable[str]
) -> dict[str, tuple[Mapping[str, Any], datetime]]:
    """Return the stored verdicts by server, each with the time at which it was judged."""
    found = await session.exec(
        select(ServerHealth.server_id, ServerHealth.verdict, ServerHealth.judged_at).where(
            col(ServerHealth.server_id).in_(list(server_ids))
        )
    )
    return {server_id: (verdict, judged_at) for server_id, verdict, judged_at in found}


async def past_findings(session: AsyncSession, server_id: str, now: datetime) -> list[Finding]:
    """Return a server's findings that are recent enough to make a new fault a recurrence."""
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
