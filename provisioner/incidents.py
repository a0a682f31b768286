"""Incidents: a failure is told once, stays open while it lasts, and is closed when it is over."""

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.incidents import IncidentKind
from provisioner.store.tables import Incident, Server

__all__ = ["IncidentKind", "close_incidents", "open_incident", "open_one"]


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
    """Open an incident, or bring the open one of this kind up to date. The customer of `lease_id`
    is told of it."""
    incident = await open_one(session, server, kind) or Incident(
        server_id=server.id, kind=kind.value, reason="", next_action="", opened_at=now
    )
    incident.operation_id = operation_id
    incident.lease_id = lease_id
    incident.reason = reason
    incident.next_action = next_action
    session.add(incident)


async def open_one(session: AsyncSession, server: Server, kind: IncidentKind) -> Incident | None:
    """The open incident of this kind, if there is one."""
    found = await session.exec(
        select(Incident).where(
            Incident.server_id == server.id,
            Incident.kind == kind.value,
            col(Incident.closed_at).is_(None),
        )
    )
    return found.one_or_none()


async def close_incidents(
    session: AsyncSession, server: Server, *kinds: IncidentKind, now: datetime
) -> None:
    open_ones = await session.exec(
        select(Incident).where(
            Incident.server_id == server.id,
            col(Incident.kind).in_([kind.value for kind in kinds]),
            col(Incident.closed_at).is_(None),
        )
    )
    for incident in open_ones:
        incident.closed_at = now
