"""Holds customers to their quotas. Operators may book beyond them, as they may set them."""

from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor, Permission
from provisioner.domain.quotas import Quota
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.domain.reservations import ACTIVE
from provisioner.store.tables import Account, Reservation


async def lock_account(session: AsyncSession, account_id: str) -> Account:
    """Hold the account's row lock until the session ends, and read the row as it is now.

    It is taken before a class's lock: quotas count over all classes. It lets others refer to the
    account, or a booking that holds a class's lock would wait for one that waits for the class.
    """
    found = await session.exec(
        select(Account)
        .where(Account.id == account_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return found.one()


async def require_server_left(
    session: AsyncSession, account: Account, defaults: Quota, *, actor: Actor, now: datetime
) -> None:
    """The caller holds the account's lock. Raises :class:`Refusal` (over_quota)."""
    if actor.may(Permission.SEE_ALL):
        return
    most = quota_of(account, defaults).servers
    held = await session.exec(
        select(func.count()).where(
            Reservation.account_id == account.id,
            col(Reservation.state).in_(ACTIVE),
            col(Reservation.released_at).is_(None),
            col(Reservation.ends_at) > now,
        )
    )
    if held.one() >= most:
        raise _over_quota(
            f"your account may reserve {most} servers at the same time, and has reserved them",
            "release one of them",
        )


def require_duration(
    account: Account, defaults: Quota, duration: timedelta, *, actor: Actor, pointer: str
) -> None:
    """Raises :class:`Refusal` (over_quota)."""
    longest = quota_of(account, defaults).duration
    if duration > longest and not actor.may(Permission.SEE_ALL):
        raise _over_quota(
            f"your account may reserve a server for {_days(longest)}, with all extensions",
            "choose an earlier end",
            Fault(pointer, f"at most {_days(longest)}"),
        )


def quota_of(account: Account, defaults: Quota) -> Quota:
    return defaults.changed(account.max_servers, account.max_duration_s)


def _days(duration: timedelta) -> str:
    return f"{duration / timedelta(days=1):g} days"


def _over_quota(reason: str, instead: str, *faults: Fault) -> Refusal:
    return Refusal(
        RefusalKind.CONFLICT,
        "over_quota",
        reason,
        next_action=f"{instead}, or ask an operator of this site to raise the limit",
        faults=faults,
    )
