"""Applies a verdict in one transaction.

Stores it with its findings, and records and announces an affected tenant's outage. The transition
table decides where the server goes.
"""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health import HealthLevel, Verdict
from provisioner.domain.incidents import IncidentKind
from provisioner.incidents import close_incidents, open_incident
from provisioner.rental.outages import begin_outage, end_outage
from provisioner.store.tables import AgentIdentity, HealthFinding, Lease, Server, ServerHealth

SILENT_RULE = "agent_silent"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, with what it is based on."""

    server_id: str
    identity_id: str
    verdict: Verdict
    stored_at: datetime | None
    """`judged_at` of the previous stored verdict; None if there was none."""


async def record(session: AsyncSession, new: Judgement, now: datetime) -> bool:
    """Store the verdict and apply its effects; return False if it is void.

    A verdict is void if another process judged the server meanwhile, the server was repaired, or
    its lease ended.
    """
    # Everything locks the server's row first; SQLite locks the whole database.
    server = (
        await session.exec(select(Server).where(Server.id == new.server_id).with_for_update())
    ).one()
    identity = await session.get_one(AgentIdentity, new.identity_id)
    row = await session.get(ServerHealth, server.id)
    if identity.revoked_at is not None or (row.judged_at if row else None) != new.stored_at:
        return False
    verdict = new.verdict
    await session.merge(
        ServerHealth(
            server_id=server.id,
            level=verdict.level,
            action=verdict.action,
            summary=verdict.summary,
            level_since=row.level_since if row and row.level is verdict.level else now,
            judged_at=now,
            verdict=verdict.to_dict(),
        )
    )
    await _remember_findings(session, server.id, verdict)
    if identity.lease_id is not None:
        await _tell_tenant(session, server, identity.lease_id, verdict, now)
    return True


async def _remember_findings(session: AsyncSession, server_id: str, verdict: Verdict) -> None:
    for finding in verdict.findings:
        if finding.level.rank < HealthLevel.DEGRADED.rank:
            continue
        found = await session.exec(
            select(HealthFinding).where(
                HealthFinding.server_id == server_id,
                HealthFinding.boot_id == finding.boot_id,
                HealthFinding.rule == finding.rule,
                HealthFinding.part == finding.part,
            )
        )
        row = found.one_or_none()
        if row is None:
            values = asdict(finding)
            del values["lease_id"]
            session.add(HealthFinding(server_id=server_id, **values))
            continue
        row.level, row.action, row.summary = finding.level, finding.action, finding.summary
        row.seen = finding.seen


async def _tell_tenant(
    session: AsyncSession, server: Server, lease_id: str, verdict: Verdict, now: datetime
) -> None:
    """Keep an outage and an incident open while a server that was handed over is faulty.

    A silent agent is not an outage: the tenant may have stopped it.
    """
    lease = await session.get_one(Lease, lease_id)
    if lease.ready_at is None or lease.ends_at <= now:
        return
    if verdict.level is HealthLevel.FAULTY:
        worst = verdict.findings[0]
        await begin_outage(session, lease, worst.since, worst.summary, now)
        await open_incident(
            session,
            server,
            IncidentKind.HEALTH,
            worst.summary,
            "the customer may take another server: "
            f"rackctl reservation swap {lease.reservation_id} --reason faulty; "
            "otherwise it is dealt with when the lease ends",
            now=now,
            lease_id=lease.id,
        )
    else:
        await end_outage(session, lease.id, now)
        await close_incidents(session, server, IncidentKind.HEALTH, now=now)
    silent = next((f for f in verdict.findings if f.rule == SILENT_RULE), None)
    if silent is not None:
        await open_incident(
            session,
            server,
            IncidentKind.SILENT,
            silent.summary,
            "the tenant may have stopped the agent; if not, check the serial console",
            now=now,
        )
    else:
        await close_incidents(session, server, IncidentKind.SILENT, now=now)
