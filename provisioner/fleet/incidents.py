"""Closing an incident by hand: only the circuit breaker's asks for it, the others end with what
they tell.
"""

from datetime import datetime

from sqlalchemy import update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.incidents import IncidentKind
from provisioner.domain.refusals import Refusal, RefusalKind
from provisioner.store import audit
from provisioner.store.tables import Incident


async def close_incident(
    session: AsyncSession, incident_id: str, *, actor: str, now: datetime
) -> Incident:
    """Close the circuit breaker: servers are quarantined for their health again, each when the
    reconciler next looks at it. Closing twice is once. Raises :class:`Refusal` (unknown_incident,
    closes_by_itself)."""
    incident = await session.get(Incident, incident_id)
    if incident is None:
        raise Refusal(RefusalKind.NOT_FOUND, "unknown_incident", f"no incident {incident_id!r}")
    if incident.kind != IncidentKind.BREAKER:
        raise Refusal(
            RefusalKind.CONFLICT,
            "closes_by_itself",
            f"an incident of kind {incident.kind!r} closes when what it tells is over",
            next_action=incident.next_action or "see the server's state",
        )
    closed = await session.exec(
        update(Incident)
        .where(col(Incident.id) == incident_id, col(Incident.closed_at).is_(None))
        .values(closed_at=now)
    )
    if closed.rowcount == 0:
        return incident
    await session.refresh(incident)
    audit.record(session, actor, "incident.close", incident_id, now)
    return incident
