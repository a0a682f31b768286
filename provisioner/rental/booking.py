"""Reserves a server from now on: resolves names, checks input, and keeps within capacity."""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.accounts.accounts import find_account
from provisioner.accounts.ssh_keys import public_keys
from provisioner.catalogue.images import image_named
from provisioner.domain import names, user_data
from provisioner.domain.access import Actor, Permission
from provisioner.domain.calendar import Period
from provisioner.domain.quotas import DEFAULT, Quota
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.domain.reservations import LONGEST, SHORTEST
from provisioner.rental.quotas import lock_account, require_duration, require_server_left
from provisioner.rental.reservations import bind_waiting, free_servers, is_free, lock_class
from provisioner.store import audit
from provisioner.store.tables import Account, Image, Reservation


@dataclass(frozen=True, slots=True)
class Request:
    """A reservation as requested; `account` is the one that an operator reserves for."""

    class_name: str
    image: str
    duration: timedelta
    ssh_keys: list[str]
    hostname: str = ""
    user_data: str = ""
    account: str = ""
    idempotency_key: str | None = None

    @property
    def digest(self) -> str:
        """What is the same of the same request, whatever became of its reservation since."""
        wanted = (
            self.class_name,
            self.image,
            self.duration.total_seconds(),
            self.ssh_keys,
            self.hostname,
            self.user_data,
        )
        return sha256(json.dumps(wanted).encode()).hexdigest()


async def reserve(
    session: AsyncSession,
    request: Request,
    *,
    actor: Actor,
    now: datetime,
    quota: Quota = DEFAULT,
) -> Reservation:
    """Promise one server of a class from now on, and bind one to it.

    The same `idempotency_key` of the same account returns the first reservation made with it.
    `quota` is that of accounts without their own.
    Raises :class:`Refusal` (forbidden, unknown_account, unknown_key, bad_hostname, bad_user_data,
    no_keys, bad_duration, unknown_class, unknown_image, idempotency_mismatch, over_quota,
    no_capacity).
    """
    account = await _account(session, request.account, actor)
    earlier = await _made_before(session, account.id, request)
    if earlier is not None:
        return earlier
    hostname = _hostname(request.hostname)
    _check_duration(request.duration)
    require_duration(account, quota, request.duration, actor=actor, pointer="/duration_s")
    keys = await public_keys(
        session, account.id, request.ssh_keys, literal=actor.may(Permission.SEE_ALL)
    )
    if not keys:
        raise Refusal(
            RefusalKind.INVALID,
            "no_keys",
            "without an SSH key, nobody could log in",
            next_action="add an SSH public key to the account and name it in the request",
            faults=(Fault("/ssh_keys", "at least one key is required"),),
        )
    account = await lock_account(session, account.id)
    await lock_class(session, request.class_name)
    image = await image_named(session, request.image)
    check_user_data(request.user_data, image, "/user_data")
    # Another request with the same key may have come first.
    earlier = await _made_before(session, account.id, request)
    if earlier is not None:
        return earlier

    await require_server_left(session, account, quota, actor=actor, now=now)
    # Waiting reservations go first, and those past their end no longer count.
    await bind_waiting(session, request.class_name, now)
    wanted = Period(now, now + request.duration)
    await _require_capacity(session, request.class_name, wanted)
    reservation = Reservation(
        account_id=account.id,
        class_name=request.class_name,
        image_id=image.id,
        starts_at=wanted.start,
        ends_at=wanted.end,
        hostname=hostname,
        authorized_keys=keys,
        user_data=request.user_data,
        idempotency_key=request.idempotency_key,
        request_digest=request.digest,
        created_at=now,
    )
    session.add(reservation)
    await session.flush()
    await bind_waiting(session, request.class_name, now)
    await session.refresh(reservation)
    audit.record(
        session,
        actor,
        "reservation.create",
        reservation.id,
        now,
        account=account.id,
        server_class=request.class_name,
    )
    return reservation


async def _account(session: AsyncSession, wanted: str, actor: Actor) -> Account:
    actor.require(Permission.RENT)
    account = await find_account(session, wanted or actor.account_id)
    if (account is None or account.id != actor.account_id) and not actor.may(Permission.SEE_ALL):
        raise Refusal(
            RefusalKind.FORBIDDEN,
            "forbidden",
            "only operators reserve on behalf of another account",
            faults=(Fault("/account", "leave it out"),),
        )
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


def check_user_data(text: str, image: Image, pointer: str) -> None:
    """Raise :class:`Refusal` (bad_user_data) if a system of this image would not honour it."""
    has_cloud_init = bool(image.boot.get("cloud_init", False))
    reason = user_data.fault(text, image.name, cloud_init=has_cloud_init)
    if reason:
        raise _invalid("bad_user_data", pointer, reason)


def _check_duration(duration: timedelta) -> None:
    if not SHORTEST <= duration <= LONGEST:
        raise Refusal(
            RefusalKind.INVALID,
            "bad_duration",
            f"a reservation lasts from {SHORTEST.seconds} seconds to {LONGEST.days} days",
            faults=(Fault("/duration_s", f"{duration.total_seconds():.0f} s is out of range"),),
        )


async def _made_before(
    session: AsyncSession, account_id: str, request: Request
) -> Reservation | None:
    """Return the reservation that this very request made already."""
    if request.idempotency_key is None:
        return None
    found = await session.exec(
        select(Reservation).where(
            Reservation.account_id == account_id,
            Reservation.idempotency_key == request.idempotency_key,
        )
    )
    earlier = found.one_or_none()
    if earlier is not None and earlier.request_digest not in (request.digest, None):
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


def _invalid(code: str, pointer: str, reason: str) -> Refusal:
    return Refusal(RefusalKind.INVALID, code, reason, faults=(Fault(pointer, reason),))
