"""Reserve a server of a class for now, and give it back early.

Every change of a class's bookings first takes the row lock of the class, so that two of them
never decide on the same free server.
"""

from datetime import datetime, timedelta

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.calendar import Period, fits
from provisioner.domain.lifecycle import IN_POOL, Intent, State
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.rental.leases import set_end
from provisioner.rental.lemons import lemon_scores
from provisioner.store.database import call_attention
from provisioner.store.tables import (
    Image,
    Lease,
    Reservation,
    ReservationState,
    Server,
    ServerClass,
)

SHORTEST = timedelta(minutes=1)
LONGEST = timedelta(days=366)

ACTIVE = (ReservationState.WAITING, ReservationState.BOUND)


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
            next_action="choose one of GET /v1/classes",
            faults=(Fault("/class", "no such server class"),),
        )


async def free_servers(session: AsyncSession, class_name: str) -> int:
    """Servers of a class that could be handed over now and are promised to nobody."""
    leased = select(Lease.server_id).where(col(Lease.ended_at).is_(None))
    idle = await session.exec(
        select(func.count()).where(
            Server.class_name == class_name,
            Server.state == State.AVAILABLE,
            Server.intent == Intent.NONE,
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


async def reserve(
    session: AsyncSession,
    *,
    account_id: str,
    class_name: str,
    image_name: str,
    duration: timedelta,
    authorized_keys: list[str],
    hostname: str,
    now: datetime,
    user_data: str = "",
    idempotency_key: str | None = None,
) -> Reservation:
    """Promise one server of a class from now on, and bind one to it.

    `authorized_keys` are OpenSSH public key lines that were validated already. The same
    `idempotency_key` of the same account returns the first reservation made with it. Raises
    :class:`Refusal` (unknown_class, unknown_image, bad_duration, no_keys, no_capacity,
    idempotency_mismatch).
    """
    if not authorized_keys:
        raise Refusal(
            RefusalKind.INVALID,
            "no_keys",
            "without an SSH key nobody could log in",
            next_action="add an SSH public key to the account and name it in the request",
            faults=(Fault("/ssh_keys", "at least one is needed"),),
        )
    if not SHORTEST <= duration <= LONGEST:
        raise Refusal(
            RefusalKind.INVALID,
            "bad_duration",
            f"a reservation lasts from {SHORTEST.seconds} seconds to {LONGEST.days} days",
            faults=(Fault("/duration_s", f"{duration.total_seconds():.0f} s is outside of that"),),
        )
    await lock_class(session, class_name)
    image = (await session.exec(select(Image).where(Image.name == image_name))).one_or_none()
    if image is None:
        raise Refusal(
            RefusalKind.INVALID,
            "unknown_image",
            f"there is no image {image_name!r}",
            next_action="choose one of GET /v1/images",
            faults=(Fault("/image", "no such image"),),
        )
    if idempotency_key is not None:
        earlier = (
            await session.exec(
                select(Reservation).where(
                    Reservation.account_id == account_id,
                    Reservation.idempotency_key == idempotency_key,
                )
            )
        ).one_or_none()
        if earlier is not None:
            return _same_request(earlier, class_name, image.id, duration)

    # Whoever waits goes first, and who waited past his end no longer counts.
    await bind_waiting(session, class_name, now)
    wanted = Period(now, now + duration)
    await _require_capacity(session, class_name, wanted)
    reservation = Reservation(
        account_id=account_id,
        class_name=class_name,
        image_id=image.id,
        starts_at=wanted.start,
        ends_at=wanted.end,
        hostname=hostname,
        authorized_keys=authorized_keys,
        user_data=user_data,
        idempotency_key=idempotency_key,
        created_at=now,
    )
    session.add(reservation)
    await session.flush()
    await bind_waiting(session, class_name, now)
    await session.refresh(reservation)
    return reservation


def _same_request(
    earlier: Reservation, class_name: str, image_id: str, duration: timedelta
) -> Reservation:
    same = (
        earlier.class_name == class_name
        and earlier.image_id == image_id
        and earlier.ends_at - earlier.starts_at == duration
    )
    if not same:
        raise Refusal(
            RefusalKind.CONFLICT,
            "idempotency_mismatch",
            f"this idempotency key was used for another request ({earlier.id})",
            next_action="use a new key for a new request",
        )
    return earlier


async def _require_capacity(session: AsyncSession, class_name: str, wanted: Period) -> None:
    if await is_free(session, class_name, wanted) and await free_servers(session, class_name) > 0:
        return
    raise Refusal(
        RefusalKind.CONFLICT,
        "no_capacity",
        f"no server of class {class_name!r} is free now",
        next_action="try again later, or choose another class",
    )


async def is_free(
    session: AsyncSession, class_name: str, wanted: Period, *, beside: str = ""
) -> bool:
    """Whether the pool of a class has a server more than it promised for a period.

    The reservation `beside` does not count: the period is meant for it. The caller holds the
    class's lock.
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
    """Bind free servers to the waiting reservations of a class, the oldest first; of the servers,
    those that were in trouble least (:mod:`provisioner.rental.lemons`), then the longest free.

    The caller holds the class's lock. A reservation whose time is up without a server ends.
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
            Server.intent == Intent.NONE,
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
            break
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
    """The lease that is open on a server; None when nobody has it."""
    found = await session.exec(
        select(Lease).where(Lease.server_id == server_id, col(Lease.ended_at).is_(None))
    )
    return found.one_or_none()


async def open_lease(session: AsyncSession, reservation_id: str) -> Lease | None:
    """The lease that now serves a reservation; None while it waits or after its end. One that
    moved to another server is open beside it until its own server was taken back."""
    found = await session.exec(
        select(Lease).where(
            Lease.reservation_id == reservation_id,
            col(Lease.ended_at).is_(None),
            Lease.end_reason == "",
        )
    )
    return found.one_or_none()


async def release(session: AsyncSession, reservation_id: str, now: datetime) -> Reservation:
    """End a reservation now: the server is taken back at once. Releasing twice is once."""
    reservation = await session.get(Reservation, reservation_id)
    if reservation is None:
        raise Refusal(
            RefusalKind.NOT_FOUND, "unknown_reservation", f"no reservation {reservation_id!r}"
        )
    await lock_class(session, reservation.class_name)
    await session.refresh(reservation)
    if reservation.state not in ACTIVE or reservation.released_at is not None:
        return reservation
    reservation.released_at = now
    lease = await open_lease(session, reservation.id)
    if lease is None:
        reservation.state = ReservationState.CANCELLED
    else:
        set_end(lease, min(lease.ends_at, now), now)
        lease.end_reason = "released"
        await call_attention(session, lease.server_id)
    return reservation
