"""Reservations: what is promised, binding servers to it, and giving one back.

Every change to a class's bookings first takes the row lock of the class, so that no two of them
pick the same free server.
"""

from datetime import datetime

from sqlalchemy import func, update
from sqlmodel import col, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor, Permission
from provisioner.domain.calendar import Period, fits
from provisioner.domain.lifecycle import IN_POOL, State
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.domain.reservations import ACTIVE, LeaseEndReason, ReservationState
from provisioner.rental.leases import set_end
from provisioner.rental.lemons import lemon_scores
from provisioner.store import audit
from provisioner.store.database import call_attention
from provisioner.store.tables import Lease, Reservation, Server, ServerClass, ServerRequest

_IS_REQUESTED = exists().where(
    col(ServerRequest.server_id) == col(Server.id), col(ServerRequest.ended_at).is_(None)
)
"""An open request will take the server out of the pool."""


async def lock_class(session: AsyncSession, class_name: str) -> None:
    """Hold the class's row lock until the session ends."""
    locked = await session.exec(
        update(ServerClass)
        .where(col(ServerClass.name) == class_name)
        .values(revision=col(ServerClass.revision) + 1)
    )
    if locked.rowcount == 0:
        raise Refusal(
            RefusalKind.INVALID,
            "unknown_class",
            f"there is no server class {class_name!r}",
            next_action="choose one from GET /v1/classes",
            faults=(Fault("/class", "no such server class"),),
        )


async def free_servers(session: AsyncSession, class_name: str) -> int:
    """Count the servers of a class that could be handed over now and are promised to nobody."""
    leased = select(Lease.server_id).where(col(Lease.ended_at).is_(None))
    idle = await session.exec(
        select(func.count()).where(
            Server.class_name == class_name,
            Server.state == State.AVAILABLE,
            ~_IS_REQUESTED,
            col(Server.id).not_in(leased),
        )
    )
    waiting = await session.exec(
        select(func.count()).where(
            Reservation.class_name == class_name,
            Reservation.state == ReservationState.WAITING,
        )
    )
    return idle.one() - waiting.one()


async def is_free(
    session: AsyncSession, class_name: str, wanted: Period, *, beside: str = ""
) -> bool:
    """Whether a class has one more server in the pool than it has promised for a period.

    The reservation `beside` does not count, as the period is for it. The caller holds the class's
    lock.
    """
    pool = await session.exec(
        select(func.count()).where(Server.class_name == class_name, col(Server.state).in_(IN_POOL))
    )
    promised = await session.exec(
        select(Reservation.starts_at, Reservation.ends_at).where(
            Reservation.class_name == class_name,
            col(Reservation.state).in_(ACTIVE),
            col(Reservation.released_at).is_(None),
            Reservation.id != beside,
        )
    )
    return fits([Period(start, end) for start, end in promised], wanted, pool.one())


async def bind_waiting(session: AsyncSession, class_name: str, now: datetime) -> list[Lease]:
    """Bind free servers to a class's waiting reservations, oldest first.

    Servers with the least trouble go first (:mod:`provisioner.rental.lemons`), then those free for
    longest. A reservation that is still without a server at its end is ended. The caller holds the
    class's lock.
    """
    found = await session.exec(
        select(Reservation)
        .where(
            Reservation.class_name == class_name,
            Reservation.state == ReservationState.WAITING,
            col(Reservation.starts_at) <= now,
        )
        .order_by(col(Reservation.created_at), col(Reservation.id))
    )
    waiting = found.all()
    if not waiting:
        return []
    leased = select(Lease.server_id).where(col(Lease.ended_at).is_(None))
    idle = await session.exec(
        select(Server)
        .where(
            Server.class_name == class_name,
            Server.state == State.AVAILABLE,
            ~_IS_REQUESTED,
            col(Server.id).not_in(leased),
        )
        .order_by(col(Server.state_since), col(Server.name))
    )
    scores = await lemon_scores(session, class_name, now)
    servers = iter(sorted(idle.all(), key=lambda server: scores.get(server.id, 0.0)))
    leases = []
    for reservation in waiting:
        if reservation.ends_at <= now:
            reservation.state = ReservationState.ENDED
            continue
        server = next(servers, None)
        if server is None:
            continue  # later ones may have reached their end
        lease = Lease(
            reservation_id=reservation.id,
            server_id=server.id,
            bound_at=now,
            ends_at=reservation.ends_at,
            granted_at=now,
        )
        session.add(lease)
        reservation.state = ReservationState.BOUND
        await session.flush()
        await call_attention(session, server.id)
        leases.append(lease)
    return leases


async def lease_on(session: AsyncSession, server_id: str) -> Lease | None:
    """Return the open lease on a server, or None if there is none."""
    found = await session.exec(
        select(Lease).where(Lease.server_id == server_id, col(Lease.ended_at).is_(None))
    )
    return found.one_or_none()


async def open_lease(session: AsyncSession, reservation_id: str) -> Lease | None:
    """Return a reservation's current lease; None while it waits or after its end.

    After a swap the previous lease also stays open until its server is reclaimed.
    """
    found = await session.exec(
        select(Lease).where(
            Lease.reservation_id == reservation_id,
            col(Lease.ended_at).is_(None),
            col(Lease.end_reason).is_(None),
        )
    )
    return found.one_or_none()


async def visible_reservation(
    session: AsyncSession, reservation_id: str, actor: Actor
) -> Reservation:
    """Return a reservation that the actor may see.

    Raises :class:`Refusal` (unknown_reservation), also for those of others, so as not to reveal
    that they exist.
    """
    reservation = await session.get(Reservation, reservation_id)
    if reservation is None or not actor.may_see(reservation.account_id):
        raise Refusal(
            RefusalKind.NOT_FOUND, "unknown_reservation", f"no reservation {reservation_id!r}"
        )
    return reservation


async def locked_reservation(
    session: AsyncSession, reservation_id: str, actor: Actor
) -> Reservation:
    """Return a visible reservation, with its class locked until the session ends."""
    actor.require(Permission.RENT)
    reservation = await visible_reservation(session, reservation_id, actor)
    await lock_class(session, reservation.class_name)
    await session.refresh(reservation)
    return reservation


async def release(
    session: AsyncSession, reservation_id: str, *, actor: Actor, now: datetime, reason: str = ""
) -> Reservation:
    """End a reservation now and reclaim its server at once. Repeating it changes nothing.

    `reason` is for the audit trail.

    Raises :class:`Refusal` (unknown_reservation).
    """
    reservation = await locked_reservation(session, reservation_id, actor)
    if reservation.state.is_over or reservation.released_at is not None:
        return reservation
    reservation.released_at = now
    lease = await open_lease(session, reservation.id)
    if lease is None:
        reservation.state = ReservationState.CANCELLED
    else:
        set_end(lease, min(lease.ends_at, now), now)
        lease.end_reason = LeaseEndReason.RELEASED
        await call_attention(session, lease.server_id)
    audit.record(session, actor, "reservation.release", reservation.id, now, **audit.why(reason))
    return reservation
