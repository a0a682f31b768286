"""Incidents: a failure is reported once, stays open while it lasts, and closes when it is over.

At most one is open per server and kind, or per kind if it concerns no single server.
"""

from datetime import datetime

from sqlalchemy import update
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor, Permission
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.refusals import Refusal, RefusalKind
from provisioner.store import audit
from provisioner.store.tables import Incident, Server


async def open_incident(
    session: AsyncSession,
    server: Server,
    kind: IncidentKind,
    reason: str,
    next_action: str,
    *,
    now: datetime,
    operation_id: str | None = None,
    lease_id: str | None = None,
) -> None:
    """Open an incident, or update the open one of this kind. The customer of `lease_id` is
    notified."""
    incident = await open_one(session, server, kind) or Incident(
        server_id=server.id, kind=kind, reason="", next_action="", opened_at=now
    )
    incident.operation_id = operation_id
    incident.lease_id = lease_id
    incident.reason = reason
    incident.next_action = next_action
    session.add(incident)


async def open_one(session: AsyncSession, server: Server, kind: IncidentKind) -> Incident | None:
    """Return the server's open incident of this kind, if there is one."""
    found = await session.exec(
        select(Incident).where(
            Incident.server_id == server.id,
            Incident.kind == kind,
            col(Incident.closed_at).is_(None),
        )
    )
    return found.one_or_none()


async def open_for_lease(
    session: AsyncSession, lease_id: str, kind: IncidentKind
) -> Incident | None:
    """Return the open incident of this kind that affects a lease, if there is one."""
    found = await session.exec(
        select(Incident).where(
            Incident.lease_id == lease_id,
            Incident.kind == kind,
            col(Incident.closed_at).is_(None),
        )
    )
    return found.one_or_none()


async def close_incidents(
    session: AsyncSession, server: Server, *kinds: IncidentKind, now: datetime
) -> None:
    """Close the server's open incidents of these kinds, as what they report is over."""
    open_ones = await session.exec(
        select(Incident).where(
            Incident.server_id == server.id,
            col(Incident.kind).in_(kinds),
            col(Incident.closed_at).is_(None),
        )
    )
    for incident in open_ones:
        incident.closed_at = now


async def breaker_is_open(session: AsyncSession) -> bool:
    """Whether the circuit breaker is open, so that no server is quarantined for its health."""
    found = await session.exec(
        select(Incident.id).where(
            Incident.kind == IncidentKind.BREAKER, col(Incident.closed_at).is_(None)
        )
    )
    return found.first() is not None


async def breaker_last_closed(session: AsyncSession) -> datetime | None:
    """When a person last closed the circuit breaker; None if it never was."""
    closed = await session.exec(
        select(func.max(Incident.closed_at)).where(Incident.kind == IncidentKind.BREAKER)
    )
    return closed.one()


async def close_breaker(
    session: AsyncSession, incident_id: str, *, actor: Actor, now: datetime
) -> Incident:
    """Close the circuit breaker: faulty servers are quarantined again, each at the reconciler's
    next look. It is the only incident that a person closes; closing it again does nothing. Raises
    :class:`Refusal` (forbidden, unknown_incident, closes_by_itself)."""
    actor.require(Permission.OPERATE)
    incident = await session.get(Incident, incident_id)
    if incident is None:
        raise Refusal(RefusalKind.NOT_FOUND, "unknown_incident", f"no incident {incident_id!r}")
    if incident.kind is not IncidentKind.BREAKER:
        raise Refusal(
            RefusalKind.CONFLICT,
            "closes_by_itself",
            f"an incident of kind {incident.kind.value!r} closes when what it reports is over",
            next_action=incident.next_action or "check the server's state",
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
