"""Swap: a customer whose server is faulty gets another, for the rest of the reservation."""

from datetime import datetime

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.refusals import Refusal, RefusalKind
from provisioner.rental.leases import MOVED, set_end
from provisioner.rental.outages import open_health_incident
from provisioner.rental.reservations import bind_waiting, free_servers, lock_class, open_lease
from provisioner.store.database import call_attention
from provisioner.store.tables import Lease, Reservation, ReservationState


async def swap(
    session: AsyncSession, reservation_id: str, now: datetime, *, by_operator: bool = False
) -> Reservation:
    """Take the server back now and prepare another. What is on its disks is lost.

    A customer may, once, while an incident says that the server is faulty: that is what the
    server's own system reports, so the second time a person looks at it. An operator always may.
    Raises :class:`Refusal` (unknown_reservation, nothing_to_swap, not_faulty, swapped_already,
    no_capacity).
    """
    reservation = await session.get(Reservation, reservation_id)
    if reservation is None:
        raise Refusal(
            RefusalKind.NOT_FOUND, "unknown_reservation", f"no reservation {reservation_id!r}"
        )
    await lock_class(session, reservation.class_name)
    await session.refresh(reservation)
    lease = await open_lease(session, reservation.id)
    if lease is not None:
        await session.refresh(lease)
    if lease is None or lease.ends_at <= now:
        raise Refusal(
            RefusalKind.CONFLICT,
            "nothing_to_swap",
            f"{reservation_id} has no server now that could be swapped",
            next_action="see whether it waits for one, or is over",
        )
    if not by_operator:
        await _require_reason(session, lease)
    if await free_servers(session, reservation.class_name) <= 0:
        raise Refusal(
            RefusalKind.CONFLICT,
            "no_capacity",
            f"no other server of class {reservation.class_name!r} is free now",
            next_action="try again later; the time in which the server is faulty is not charged",
        )
    set_end(lease, now, now)
    lease.end_reason = MOVED
    reservation.state = ReservationState.WAITING
    await session.flush()
    await call_attention(session, lease.server_id)
    await bind_waiting(session, reservation.class_name, now)
    return reservation


async def _require_reason(session: AsyncSession, lease: Lease) -> None:
    if await open_health_incident(session, lease.id) is None:
        raise Refusal(
            RefusalKind.CONFLICT,
            "not_faulty",
            "nothing is known to be wrong with the server",
            next_action="tell an operator what is wrong with it: they may swap it",
        )
    swaps = await session.exec(
        select(func.count()).where(
            Lease.reservation_id == lease.reservation_id,
            Lease.end_reason == MOVED,
            col(Lease.ready_at).is_not(None),
        )
    )
    if swaps.one() > 0:
        raise Refusal(
            RefusalKind.CONFLICT,
            "swapped_already",
            "this reservation got another server once before",
            next_action="ask an operator to swap it again",
        )
