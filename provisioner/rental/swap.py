"""Swap: a customer with a faulty server gets another one for the rest of the reservation."""

from datetime import datetime

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor, Permission
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.refusals import Refusal, RefusalKind
from provisioner.domain.reservations import LeaseEndReason, ReservationState
from provisioner.incidents import open_for_lease
from provisioner.rental.leases import set_end
from provisioner.rental.reservations import (
    bind_waiting,
    free_servers,
    locked_reservation,
    open_lease,
)
from provisioner.store import audit
from provisioner.store.database import call_attention
from provisioner.store.tables import Lease, Reservation


async def swap(
    session: AsyncSession, reservation_id: str, *, actor: Actor, now: datetime, reason: str = ""
) -> Reservation:
    """Reclaim the server now and prepare another one. Whatever is on its disks is lost. `reason`
    is for the audit trail.

    A customer may do so once, while an incident reports the server as faulty. The customer's own
    system can forge that, so a second time needs an operator, who may always swap. Raises
    :class:`Refusal` (unknown_reservation, nothing_to_swap, not_faulty, swapped_already,
    no_capacity).
    """
    reservation = await locked_reservation(session, reservation_id, actor)
    lease = await open_lease(session, reservation.id)
    if lease is not None:
        await session.refresh(lease)
    if lease is None or lease.ends_at <= now:
        raise Refusal(
            RefusalKind.CONFLICT,
            "nothing_to_swap",
            f"{reservation_id} has no server to swap",
            next_action="check whether it is waiting for one, or is over",
        )
    if not actor.may(Permission.SEE_ALL):
        await _require_reason(session, lease)
    if await free_servers(session, reservation.class_name) <= 0:
        raise Refusal(
            RefusalKind.CONFLICT,
            "no_capacity",
            f"no other server of class {reservation.class_name!r} is free now",
            next_action="try again later; time during which the server is faulty is not charged",
        )
    set_end(lease, now, now)
    lease.end_reason = LeaseEndReason.MOVED
    reservation.state = ReservationState.WAITING
    await session.flush()
    await call_attention(session, lease.server_id)
    await bind_waiting(session, reservation.class_name, now)
    audit.record(session, actor, "reservation.swap", reservation.id, now, **audit.why(reason))
    return reservation


async def _require_reason(session: AsyncSession, lease: Lease) -> None:
    if await open_for_lease(session, lease.id, IncidentKind.HEALTH) is None:
        raise Refusal(
            RefusalKind.CONFLICT,
            "not_faulty",
            "no fault is known on the server",
            next_action="tell an operator what is wrong with it; they can swap it",
        )
    swaps = await session.exec(
        select(func.count()).where(
            Lease.reservation_id == lease.reservation_id,
            Lease.end_reason == LeaseEndReason.MOVED,
            col(Lease.ready_at).is_not(None),
        )
    )
    if swaps.one() > 0:
        raise Refusal(
            RefusalKind.CONFLICT,
            "swapped_already",
            "this reservation was already swapped once",
            next_action="ask an operator to swap it again",
        )
