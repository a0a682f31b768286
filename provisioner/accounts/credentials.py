"""Changing a password, one's own or somebody's who has lost it.

Hashing takes a moment and is done before, outside any transaction: `passwords`.
"""

import secrets
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.accounts.accounts import known_account, require_rank
from provisioner.accounts.sessions import begin_session, end_sessions_of
from provisioner.domain.access import Actor
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.store import audit
from provisioner.store.tables import Account, WebSession


def one_time_password() -> str:
    """A password that somebody reads out or pastes once."""
    return secrets.token_urlsafe(15)


def wrong_password(reason: str = "the current password is wrong") -> Refusal:
    return Refusal(
        RefusalKind.INVALID,
        "wrong_password",
        reason,
        next_action="if you have lost it, ask an operator to reset it",
        faults=(Fault("/current", reason),),
    )


async def change_password(
    session: AsyncSession, verified: Account, password_hash: str, *, actor: Actor, now: datetime
) -> Account:
    """Give the actor's own account a new password, and end all of its sessions.

    `verified` is the account as it was when its present password was checked. Raises
    :class:`Refusal` (wrong_password) if that has changed since.
    """
    account = await session.get_one(Account, actor.account_id, with_for_update=True)
    if account.password_hash != verified.password_hash:
        raise wrong_password("the password was changed at the same time")
    _set(account, password_hash, is_temporary=False)
    await end_sessions_of(session, account.id, now)
    audit.record(session, actor, "account.change_password", account.id, now)
    return account


async def reset_password(
    session: AsyncSession, account_id: str, password_hash: str, *, actor: Actor, now: datetime
) -> Account:
    """Give an account a one-time password, and end all of its sessions.

    It serves for one login, after which a new one has to be chosen. Raises :class:`Refusal`
    (forbidden, unknown_account, admin_only).
    """
    account = await known_account(session, account_id)
    require_rank(actor, account.role)
    _set(account, password_hash, is_temporary=True)
    await end_sessions_of(session, account.id, now)
    audit.record(session, actor, "account.reset_password", account.id, now)
    return account


async def log_in(
    session: AsyncSession, verified: Account, *, actor: Actor, now: datetime
) -> tuple[WebSession, Account] | None:
    """Begin a session with the password of `verified`; a one-time password is spent by it.

    Returns None if the account or its password has changed since it was checked.
    """
    account = await session.get_one(
        Account, verified.id, with_for_update=True, populate_existing=True
    )
    if account.disabled_at is not None or account.password_hash != verified.password_hash:
        return None
    if account.password_is_temporary:
        account.password_hash = ""
    audit.record(session, actor, "account.login", account.id, now)
    return await begin_session(session, account.id, now), account


def _set(account: Account, password_hash: str, *, is_temporary: bool) -> None:
    account.password_hash, account.password_is_temporary = password_hash, is_temporary
