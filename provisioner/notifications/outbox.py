"""Enqueues messages to customers, together with the event or when the clock makes them due.

`sender.py` sends them.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, String, bindparam, cast, literal
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped
from sqlmodel import col, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.incidents import IncidentKind
from provisioner.domain.webhooks import TRIED_FOR, WARNING_SPANS, WebhookEvent
from provisioner.loops import Contained
from provisioner.notifications.webhooks import message_of, occasion_key
from provisioner.store.database import Database
from provisioner.store.tables import (
    Incident,
    Lease,
    Reservation,
    Server,
    Webhook,
    WebhookMessage,
)


async def enqueue(
    session: AsyncSession,
    lease: Lease,
    event: WebhookEvent,
    now: datetime,
    *,
    subject: str = "",
    occasion: str = "",
    **more: Any,
) -> None:
    """Enqueue a message to a lease's customer once, in the event's session. Does nothing if the
    customer has no webhook.

    `subject` is what the message is about, if not the lease itself. `occasion` distinguishes
    several events of one kind.
    """
    reservation = await session.get_one(Reservation, lease.reservation_id)
    server = await session.get_one(Server, lease.server_id)
    data = {
        "reservation": reservation.id,
        "lease": lease.id,
        "hostname": reservation.hostname,
        "server": server.name,
        "address": server.address,
        "ends_at": lease.ends_at.isoformat(),
        **more,
    }
    await _add(
        session,
        reservation.account_id,
        event,
        data,
        subject=subject or lease.id,
        occasion=occasion,
        now=now,
    )


async def enqueue_about(
    session: AsyncSession,
    reservation: Reservation,
    event: WebhookEvent,
    now: datetime,
    *,
    occasion: str = "",
    **more: Any,
) -> None:
    """Do the same for a reservation that has no server."""
    data = {
        "reservation": reservation.id,
        "hostname": reservation.hostname,
        "ends_at": reservation.ends_at.isoformat(),
        **more,
    }
    await _add(
        session,
        reservation.account_id,
        event,
        data,
        subject=reservation.id,
        occasion=occasion,
        now=now,
    )


async def _add(
    session: AsyncSession,
    account_id: str,
    event: WebhookEvent,
    data: dict[str, object],
    *,
    subject: str,
    occasion: str,
    now: datetime,
) -> None:
    if await session.get(Webhook, account_id) is None:
        return
    earlier = await session.exec(
        select(WebhookMessage.id).where(
            WebhookMessage.account_id == account_id,
            WebhookMessage.subject == subject,
            WebhookMessage.event == occasion_key(event, occasion),
        )
    )
    if earlier.first() is None:
        session.add(message_of(account_id, subject, event, data, occasion=occasion, now=now))


def _enqueued(subject: Mapped[str], event: ColumnElement[str]) -> ColumnElement[bool]:
    return exists().where(
        col(WebhookMessage.account_id) == col(Reservation.account_id),
        col(WebhookMessage.subject) == subject,
        col(WebhookMessage.event) == event,
    )


_UNWARNED = (
    select(Lease, Webhook)
    .join(Reservation, col(Reservation.id) == col(Lease.reservation_id))
    .join(Webhook, col(Webhook.account_id) == col(Reservation.account_id))
    .where(
        col(Lease.ended_at).is_(None),
        col(Lease.ends_at) > bindparam("earliest"),
        col(Lease.ends_at) <= bindparam("latest"),
        ~_enqueued(
            col(Lease.id),
            bindparam("warning", type_=String) + cast(Lease.sequence, String),
        ),
    )
)
_NEW_INCIDENTS = (
    select(Incident, Lease)
    .join(Lease, col(Lease.id) == col(Incident.lease_id))
    .join(Reservation, col(Reservation.id) == col(Lease.reservation_id))
    .join(Webhook, col(Webhook.account_id) == col(Reservation.account_id))
    .where(
        Incident.kind == IncidentKind.HEALTH,
        col(Incident.opened_at) >= col(Webhook.created_at),
        col(Incident.opened_at) > bindparam("opened_after"),
        ~_enqueued(col(Incident.id), literal(occasion_key(WebhookEvent.INCIDENT))),
    )
)
"""Both queries run every second, so they are built once."""


async def enqueue_due(database: Database, now: datetime, contained: Contained) -> None:
    """Enqueue warnings of approaching ends, and newly opened incidents."""
    async with database.read() as session:
        warnings = [
            (lease, before)
            for before, after in WARNING_SPANS
            for lease in await _to_warn(session, before, after, now)
        ]
        incidents = await _new_incidents(session, now)
    for lease, before in warnings:
        with contained(lease.id):
            await _enqueue_once(
                database,
                lease,
                WebhookEvent.ENDS_SOON,
                now,
                occasion=_occasion(before, lease.sequence),
                before_s=int(before.total_seconds()),
            )
    for incident, lease in incidents:
        with contained(incident.id):
            await _enqueue_once(
                database,
                lease,
                WebhookEvent.INCIDENT,
                now,
                subject=incident.id,
                reason=incident.reason,
                opened_at=incident.opened_at.isoformat(),
            )


def _occasion(before: timedelta, sequence: int | str) -> str:
    """The sequence stands for the end: it rises when the end moves, so warnings are due again."""
    return f"{before.total_seconds():.0f} {sequence}"


async def _to_warn(
    session: AsyncSession, before: timedelta, after: timedelta, now: datetime
) -> list[Lease]:
    """Return leases whose warning `before` the end is due now and was not sent.

    A warning is skipped if its time had passed when the end or the webhook was set.
    """
    warning = occasion_key(WebhookEvent.ENDS_SOON, _occasion(before, ""))
    found = await session.exec(
        _UNWARNED,
        params={"warning": warning, "earliest": now + after, "latest": now + before},
    )
    return [
        lease
        for lease, webhook in found
        if lease.ends_at - before > max(lease.granted_at, webhook.created_at)
    ]


async def _new_incidents(session: AsyncSession, now: datetime) -> list[tuple[Incident, Lease]]:
    return list(await session.exec(_NEW_INCIDENTS, params={"opened_after": now - TRIED_FOR}))


async def _enqueue_once(
    database: Database, lease: Lease, event: WebhookEvent, now: datetime, **how: Any
) -> None:
    try:
        async with database.write() as session:
            await enqueue(session, lease, event, now, **how)
    except IntegrityError:
        return  # another process did so at the same time
