"""Incidents: a failure is reported once, stays open while it lasts, and closes when it is over.

At most one is open per server and kind, or per kind if it concerns no single server.
"""

from contextlib import suppress
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import PERMISSIONS, Actor, Permission
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.store import audit
from provisioner.store.tables import Account, Incident, IncidentNote, Server


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


async def open_site_incident(
    session: AsyncSession, kind: IncidentKind, reason: str, next_action: str, *, now: datetime
) -> None:
    """Open an incident that concerns the whole site, or update the open one of this kind."""
    incident = await _open_of_site(session, kind)
    if incident is not None:
        incident.reason, incident.next_action = reason, next_action
        return
    with suppress(IntegrityError):  # another process opened it at the same time
        async with session.begin_nested():
            session.add(Incident(kind=kind, reason=reason, next_action=next_action, opened_at=now))


async def close_site_incident(session: AsyncSession, kind: IncidentKind, *, now: datetime) -> None:
    incident = await _open_of_site(session, kind)
    if incident is not None:
        incident.closed_at = now


async def _open_of_site(session: AsyncSession, kind: IncidentKind) -> Incident | None:
    found = await session.exec(
        select(Incident).where(
            Incident.kind == kind,
            col(Incident.server_id).is_(None),
            col(Incident.reservation_id).is_(None),
            col(Incident.closed_at).is_(None),
        )
    )
    return found.one_or_none()


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
    incident = await known_incident(session, incident_id, actor)
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


async def known_incident(session: AsyncSession, incident_id: str, actor: Actor) -> Incident:
    """Raises :class:`Refusal` (forbidden, unknown_incident)."""
    actor.require(Permission.OPERATE)
    incident = await session.get(Incident, incident_id)
    if incident is None:
        raise Refusal(RefusalKind.NOT_FOUND, "unknown_incident", f"no incident {incident_id!r}")
    return incident


async def acknowledge(
    session: AsyncSession, incident_id: str, *, actor: Actor, now: datetime
) -> Incident:
    """Say that one knows of an open incident. The first who does is kept. Raises
    :class:`Refusal` (forbidden, unknown_incident, incident_closed)."""
    incident = await _open(session, incident_id, actor)
    if incident.acknowledged_at is None:
        incident.acknowledged_at = now
        incident.acknowledged_by = actor.account_id or None
        audit.record(session, actor, "incident.acknowledge", incident_id, now)
    return incident


async def assign(
    session: AsyncSession,
    incident_id: str,
    assignee: Account | None,
    *,
    actor: Actor,
    now: datetime,
) -> Incident:
    """Give an open incident to an operator to work on, or to nobody. It counts as acknowledged.
    Raises :class:`Refusal` (forbidden, unknown_incident, incident_closed, not_an_operator)."""
    incident = await acknowledge(session, incident_id, actor=actor, now=now)
    if assignee is not None and (
        assignee.disabled_at is not None or Permission.OPERATE not in PERMISSIONS[assignee.role]
    ):
        raise Refusal(
            RefusalKind.INVALID,
            "not_an_operator",
            f"{assignee.email} is no active operator",
            faults=(Fault("/account", "name an operator or an administrator"),),
        )
    wanted = assignee.id if assignee else None
    if incident.assignee_id != wanted:
        incident.assignee_id = wanted
        audit.record(session, actor, "incident.assign", incident_id, now, assignee=wanted)
    return incident


async def note(
    session: AsyncSession, incident_id: str, text: str, *, actor: Actor, now: datetime
) -> Incident:
    """Write a note on an incident, which may be closed. Raises :class:`Refusal` (forbidden,
    unknown_incident, empty_note)."""
    incident = await known_incident(session, incident_id, actor)
    if not text.strip():
        raise Refusal(
            RefusalKind.INVALID,
            "empty_note",
            "the note is empty",
            faults=(Fault("/text", "write something"),),
        )
    session.add(
        IncidentNote(
            incident_id=incident_id, account_id=actor.account_id or None, at=now, text=text.strip()
        )
    )
    audit.record(session, actor, "incident.note", incident_id, now)
    await session.flush()
    return incident


async def _open(session: AsyncSession, incident_id: str, actor: Actor) -> Incident:
    incident = await known_incident(session, incident_id, actor)
    if incident.closed_at is not None:
        raise Refusal(
            RefusalKind.CONFLICT,
            "incident_closed",
            f"{incident_id} is closed",
            next_action="write a note on it instead",
        )
    return incident
