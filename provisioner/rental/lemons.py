"""Scores a class's free servers by recent trouble, so that customers get the best ones first."""

from collections import defaultdict
from datetime import datetime, timedelta

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health import HealthLevel, lemon_score
from provisioner.domain.health.fleet import LEMON_DAYS
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import State
from provisioner.store.tables import HealthFinding, Incident, Server


async def lemon_scores(session: AsyncSession, class_name: str, now: datetime) -> dict[str, float]:
    """Return scores by server, from its health findings and its quarantines for faults.

    Servers with neither are left out.
    """
    since = now - timedelta(days=LEMON_DAYS)
    free = (Server.class_name == class_name, Server.state == State.AVAILABLE)
    findings = await session.exec(
        select(HealthFinding.server_id, HealthFinding.since, HealthFinding.level)
        .join(Server, col(Server.id) == col(HealthFinding.server_id))
        .where(*free, col(HealthFinding.since) > since)
    )
    faults = await session.exec(
        select(Server.id, Incident.opened_at)
        .join(Incident, col(Incident.server_id) == col(Server.id))
        .where(*free, Incident.kind == IncidentKind.FAULT, col(Incident.opened_at) > since)
    )
    trouble: dict[str, list[tuple[datetime, HealthLevel]]] = defaultdict(list)
    for server_id, at, level in findings:
        trouble[server_id].append((at, HealthLevel(level)))
    for server_id, at in faults:
        trouble[server_id].append((at, HealthLevel.FAULTY))
    return {server_id: lemon_score(times, now) for server_id, times in trouble.items()}
