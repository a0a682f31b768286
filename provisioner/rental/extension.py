"""Extends a reservation before it ends, if no other reservation needs its server.

Like every promise, this is decided under the class's lock; the lease's end follows.
"""

from datetime import UTC, datetime, timedelta

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor
from provisioner.domain.calendar import Period
from provisioner.domain.lifecycle import State
from provisioner.domain.quotas import DEFAULT, Quota
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.domain.reservations import LONGEST
from provisioner.domain.webhooks import WebhookEvent
from provisioner.notifications.outbox import enqueue
from provisioner.rental.leases import set_end
from provisioner.rental.quotas import require_duration
from provisioner.rental.reservations import is_free, locked_reservation, open_lease
from provisioner.store import audit
from provisioner.store.database import call_attention
from provisioner.store.tables import Account, Extension, Reservation, Server

_SERVING = frozenset({State.AVAILABLE, State.IMAGING, State.LEASED})
"""States in which a bound server is not being taken away from its customer."""


async def extend(
    session: AsyncSession,
    reservation_id: str,
    *,
    by: timedelta | None = None,
    until: datetime | None = None,
    actor: Actor,
    now: datetime,
    idempotency_key: str | None = None,
    quota: Quota = DEFAULT,
) -> Reservation:
    """Move the end of a reservation `by` a span or `until` a time; exactly one is given.

    Does nothing if it already ends then, or if the same `idempotency_key` was used on the
    reservation before. Raises :class:`Refusal` (unknown_reservation, bad_extension,
    reservation_over, over_quota, no_capacity, idempotency_mismatch).
    """
    reservation = await locked_reservation(session, reservation_id, actor)
    if idempotency_key is not None and await _made_before(
        session, reservation, by, until, idempotency_key
    ):
        return reservation
    lease = await open_lease(session, reservation.id)
    if reservation.state.is_over or reservation.released_at is not None:
        raise _over(reservation)
    # `now` was read before the lock was taken, so also check whether the server is being reclaimed.
    server = await session.get(Server, lease.server_id, populate_existing=True) if lease else None
    if reservation.ends_at <= now or (server is not None and server.state not in _SERVING):
        raise _over(reservation)

    wanted = _wanted(reservation, by, until)
    if wanted is None:
        return reservation
    account = await session.get_one(Account, reservation.account_id)
    length = wanted.end - reservation.starts_at
    pointer = "/by_s" if by is not None else "/until"
    require_duration(account, quota, length, actor=actor, pointer=pointer)
    if not await is_free(session, reservation.class_name, wanted, beside=reservation.id):
        raise Refusal(
            RefusalKind.CONFLICT,
            "no_capacity",
            f"every server of class {reservation.class_name!r} is promised to others "
            f"before {wanted.end:%Y-%m-%d %H:%M:%S} UTC",
            next_action="extend by less, or reserve another server once one is free",
        )
    extension = Extension(
        reservation_id=reservation.id,
        from_end=wanted.start,
        to_end=wanted.end,
        idempotency_key=idempotency_key,
        created_at=now,
    )
    session.add(extension)
    reservation.ends_at = wanted.end
    if lease is not None:
        set_end(lease, wanted.end, now)
        await enqueue(
            session,
            lease,
            WebhookEvent.EXTENDED,
            now,
            occasion=str(lease.sequence),
            previous_end=wanted.start.isoformat(),
        )
        await call_attention(session, lease.server_id)
    audit.record(
        session,
        actor,
        "reservation.extend",
        reservation.id,
        now,
        from_end=wanted.start.isoformat(),
        to_end=wanted.end.isoformat(),
    )
    await session.flush()
    return reservation


async def _made_before(
    session: AsyncSession,
    reservation: Reservation,
    by: timedelta | None,
    until: datetime | None,
    idempotency_key: str,
) -> bool:
    earlier = (
        await session.exec(
            select(Extension).where(
                Extension.reservation_id == reservation.id,
                Extension.idempotency_key == idempotency_key,
            )
        )
    ).one_or_none()
    if earlier is None:
        return False
    if by == earlier.to_end - earlier.from_end or until == earlier.to_end:
        return True
    raise Refusal(
        RefusalKind.CONFLICT,
        "idempotency_mismatch",
        f"this idempotency key was used for another extension ({earlier.id})",
        next_action="use a new key for a new request",
    )


def _over(reservation: Reservation) -> Refusal:
    return Refusal(
        RefusalKind.CONFLICT,
        "reservation_over",
        f"{reservation.id} is over and can no longer be extended",
        next_action="make a new reservation",
    )


def _wanted(
    reservation: Reservation, by: timedelta | None, until: datetime | None
) -> Period | None:
    """Return the period to add; None if the reservation already ends then."""
    pointer = "/by_s" if by is not None else "/until"
    start, end = reservation.ends_at, until
    if by is not None:
        end = None if abs(by) > LONGEST else start + by
    if end is None or end - reservation.starts_at > LONGEST:
        raise _bad(pointer, f"a reservation lasts at most {LONGEST.days} days with its extensions")
    if until is not None and end == start:
        return None
    if end <= start:
        raise _bad(pointer, "the new end must be later than the current one; to shorten, release")
    return Period(start, end.astimezone(UTC))


def _bad(pointer: str, reason: str) -> Refusal:
    return Refusal(RefusalKind.INVALID, "bad_extension", reason, faults=(Fault(pointer, reason),))
