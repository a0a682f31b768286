"""The binder: looks after reservations that wait for a server.

Whatever frees a server binds it at once (`bind_waiting`). The binder is the safety net, and it
alone watches the clock for waiting reservations: it opens an incident at once, and ends the wait
with the reservation.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.incidents import IncidentKind
from provisioner.domain.reservations import ReservationState
from provisioner.domain.webhooks import WebhookEvent
from provisioner.loops import Loop
from provisioner.notifications.outbox import enqueue_about
from provisioner.rental.reservations import bind_waiting, lock_class
from provisioner.store.columns import utc_now
from provisioner.store.database import Database
from provisioner.store.tables import Incident, Reservation

_DELAY = (
    (col(Incident.reservation_id) == col(Reservation.id))
    & (col(Incident.kind) == IncidentKind.DELAYED)
    & col(Incident.closed_at).is_(None)
)
"""The open incident of a waiting reservation."""


class Binder(Loop):
    """Any number of processes may run one: each class is handled under its lock."""

    name: ClassVar[str] = "binder"

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], datetime] = utc_now,
        period: timedelta = timedelta(seconds=2),
    ) -> None:
        super().__init__(period=period, clock=clock)
        self._database = database

    async def turn(self, now: datetime) -> None:
        async with self._database.read() as session:
            class_names = await _classes_with_waits(session, now)
        for class_name in class_names:
            with self.status.contained(class_name):
                async with self._database.write() as session:
                    await lock_class(session, class_name)
                    await bind_waiting(session, class_name, now)
                    await _record_delays(session, class_name, now)


async def open_delays(session: AsyncSession, reservation_ids: Sequence[str]) -> dict[str, datetime]:
    """Return which of the reservations are delayed, and since when."""
    found = await session.exec(
        select(Reservation.id, Incident.opened_at)
        .join(Incident, _DELAY)
        .where(col(Reservation.id).in_(reservation_ids))
    )
    return {reservation_id: opened_at for reservation_id, opened_at in found}  # noqa: C416  # rows


async def _classes_with_waits(session: AsyncSession, now: datetime) -> Sequence[str]:
    """Return classes with waiting reservations, or with open incidents about them."""
    found = await session.exec(
        select(Reservation.class_name)
        .outerjoin(Incident, _DELAY)
        .where(or_(_waits(now), col(Incident.id).is_not(None)))
        .distinct()
    )
    return found.all()


async def _record_delays(session: AsyncSession, class_name: str, now: datetime) -> None:
    """Open an incident for each reservation that still waits, and close all others."""
    waiting = await session.exec(
        select(Reservation)
        .outerjoin(Incident, _DELAY)
        .where(Reservation.class_name == class_name, _waits(now), col(Incident.id).is_(None))
    )
    for reservation in waiting.all():
        await _open(session, reservation, now)
    over = await session.exec(
        select(Incident)
        .join(Reservation, _DELAY)
        .where(
            Reservation.class_name == class_name,
            Reservation.state != ReservationState.WAITING,
        )
    )
    for incident in over.all():
        incident.closed_at = now


async def _open(session: AsyncSession, reservation: Reservation, now: datetime) -> None:
    reason = (
        f"{reservation.id} ({reservation.hostname}) is waiting: no server of class "
        f"{reservation.class_name} is free. It ends at {reservation.ends_at:%Y-%m-%d %H:%M} UTC."
    )
    incident = Incident(
        reservation_id=reservation.id,
        kind=IncidentKind.DELAYED,
        reason=reason,
        next_action=(
            f"Bring a server of class {reservation.class_name} back into the pool "
            f"(rackctl server list --class {reservation.class_name}), or end the reservation: "
            f"rackctl reservation release {reservation.id} --reason delayed"
        ),
        opened_at=now,
    )
    session.add(incident)
    await enqueue_about(
        session,
        reservation,
        WebhookEvent.DELAYED,
        now,
        occasion=incident.id,
        reason="no server of the class is free; you get the next one",
    )


def _waits(now: datetime) -> ColumnElement[bool]:
    return and_(
        col(Reservation.state) == ReservationState.WAITING, col(Reservation.starts_at) <= now
    )
