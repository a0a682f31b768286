"""Reserve and release as the API and the pages do it: names resolved, owner checked, audited."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.accounts.accounts import find_account
from provisioner.accounts.ssh_keys import public_keys
from provisioner.domain import names
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.rental import extension, reservations
from provisioner.rental import swap as swaps
from provisioner.service.http.bearer import Caller
from provisioner.store import audit
from provisioner.store.tables import Account, Reservation

USER_DATA_LIMIT = 64 * 1024
"""Bytes of user data in UTF-8."""


@dataclass(frozen=True, slots=True)
class Request:
    """A reservation as it was asked for; `account` is whom an operator reserves for."""

    class_name: str
    image: str
    duration: timedelta
    ssh_keys: list[str]
    hostname: str = ""
    user_data: str = ""
    account: str = ""
    idempotency_key: str | None = None


async def reserve(
    session: AsyncSession, request: Request, caller: Caller, now: datetime
) -> Reservation:
    """Raises :class:`Refusal` as :func:`reservations.reserve` does, and forbidden,
    unknown_account, unknown_key, bad_hostname, bad_user_data."""
    account = await _account(session, request.account, caller)
    hostname = _hostname(request.hostname)
    _check_user_data(request.user_data)
    keys = await public_keys(session, account.id, request.ssh_keys, literal=caller.is_operator)
    reservation = await reservations.reserve(
        session,
        account_id=account.id,
        class_name=request.class_name,
        image_name=request.image,
        duration=request.duration,
        authorized_keys=keys,
        hostname=hostname,
        now=now,
        user_data=request.user_data,
        idempotency_key=request.idempotency_key,
    )
    audit.record(
        session,
        caller.actor,
        "reservation.create",
        reservation.id,
        now,
        account=account.id,
        server_class=request.class_name,
    )
    return reservation


async def release(
    session: AsyncSession, reservation_id: str, caller: Caller, now: datetime
) -> Reservation:
    """Raises :class:`Refusal` (unknown_reservation)."""
    await visible_reservation(session, reservation_id, caller)
    reservation = await reservations.release(session, reservation_id, now)
    audit.record(session, caller.actor, "reservation.release", reservation_id, now)
    return reservation


async def extend(
    session: AsyncSession,
    reservation_id: str,
    caller: Caller,
    now: datetime,
    *,
    by: timedelta | None = None,
    until: datetime | None = None,
    idempotency_key: str | None = None,
) -> Reservation:
    """Raises :class:`Refusal` as :func:`extension.extend` does."""
    await visible_reservation(session, reservation_id, caller)
    reservation, made = await extension.extend(
        session, reservation_id, by=by, until=until, now=now, idempotency_key=idempotency_key
    )
    if made is not None:
        audit.record(
            session,
            caller.actor,
            "reservation.extend",
            reservation_id,
            now,
            from_end=made.from_end.isoformat(),
            to_end=made.to_end.isoformat(),
        )
    return reservation


async def swap(
    session: AsyncSession, reservation_id: str, caller: Caller, now: datetime
) -> Reservation:
    """Raises :class:`Refusal` as :func:`rental.swap.swap` does."""
    await visible_reservation(session, reservation_id, caller)
    reservation = await swaps.swap(session, reservation_id, now, by_operator=caller.is_operator)
    audit.record(session, caller.actor, "reservation.swap", reservation_id, now)
    return reservation


async def visible_reservation(
    session: AsyncSession, reservation_id: str, caller: Caller
) -> Reservation:
    """A reservation that the caller may see; another's is as unknown as one that never was."""
    reservation = await session.get(Reservation, reservation_id)
    if reservation is None or not (
        caller.is_operator or reservation.account_id == caller.account.id
    ):
        raise Refusal(
            RefusalKind.NOT_FOUND, "unknown_reservation", f"no reservation {reservation_id!r}"
        )
    return reservation


async def _account(session: AsyncSession, wanted: str, caller: Caller) -> Account:
    if not wanted or wanted in (caller.account.id, caller.account.email):
        return caller.account
    if not caller.is_operator:
        raise Refusal(
            RefusalKind.FORBIDDEN,
            "forbidden",
            "only operators reserve on behalf of another account",
            faults=(Fault("/account", "leave it out"),),
        )
    account = await find_account(session, wanted)
    if account is None or account.disabled_at is not None:
        raise _invalid("unknown_account", "/account", f"there is no active account {wanted!r}")
    return account


def _hostname(text: str) -> str:
    if not text:
        return f"server-{secrets.token_hex(3)}"
    try:
        return names.hostname(text)
    except ValueError as error:
        raise _invalid("bad_hostname", "/hostname", str(error)) from error


def _check_user_data(text: str) -> None:
    size = len(text.encode())
    if size > USER_DATA_LIMIT:
        reason = f"user data may have {USER_DATA_LIMIT} bytes at most; this has {size}"
        raise _invalid("bad_user_data", "/user_data", reason)


def _invalid(code: str, pointer: str, reason: str) -> Refusal:
    return Refusal(RefusalKind.INVALID, code, reason, faults=(Fault(pointer, reason),))
