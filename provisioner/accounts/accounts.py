"""Creating and disabling accounts."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.accounts.sessions import end_sessions_of
from provisioner.domain.access import PERMISSIONS, Actor, Permission, Role
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.store import audit
from provisioner.store.tables import Account, ApiToken


async def create_account(
    session: AsyncSession,
    *,
    name: str,
    email: str,
    role: Role,
    password_hash: str,
    actor: Actor,
    now: datetime,
) -> Account:
    """Create an account. Raises :class:`Refusal` (forbidden, admin_only, email_exists)."""
    require_rank(actor, role)
    email = email.lower()
    taken = Refusal(
        RefusalKind.CONFLICT,
        "email_exists",
        f"there is an account for {email!r} already",
        faults=(Fault("/email", "belongs to another account"),),
    )
    if (await session.exec(select(Account).where(Account.email == email))).first() is not None:
        raise taken
    account = Account(
        name=name, email=email, role=role, password_hash=password_hash, created_at=now
    )
    session.add(account)
    try:
        await session.flush()
    except IntegrityError as error:
        raise taken from error
    audit.record(session, actor, "account.create", account.id, now, role=role.value)
    return account


async def disable_account(
    session: AsyncSession, account_id: str, *, actor: Actor, now: datetime
) -> Account:
    """End an account's logins, sessions and tokens at once. Its leases run to their end.

    The tokens are revoked: they stay so when the account is enabled again. Raises :class:`Refusal`
    (forbidden, unknown_account, admin_only, own_account).
    """
    account = await known_account(session, account_id)
    require_rank(actor, account.role)
    if account.id == actor.account_id:
        raise Refusal(
            RefusalKind.CONFLICT,
            "own_account",
            "you cannot disable the account you are logged in with",
            next_action="ask another administrator to do it",
        )
    if account.disabled_at is None:
        account.disabled_at = now
        await end_sessions_of(session, account.id, now)
        await session.exec(
            update(ApiToken)
            .where(col(ApiToken.account_id) == account.id, col(ApiToken.revoked_at).is_(None))
            .values(revoked_at=now)
        )
        audit.record(session, actor, "account.disable", account.id, now)
    return account


async def enable_account(
    session: AsyncSession, account_id: str, *, actor: Actor, now: datetime
) -> Account:
    """Let a disabled account log in again, with its password or new tokens.

    Raises :class:`Refusal` (forbidden, unknown_account, admin_only).
    """
    account = await known_account(session, account_id)
    require_rank(actor, account.role)
    if account.disabled_at is not None:
        account.disabled_at = None
        audit.record(session, actor, "account.enable", account.id, now)
    return account


async def set_quota(
    session: AsyncSession,
    account_id: str,
    limits: Mapping[str, int | None],
    *,
    actor: Actor,
    now: datetime,
) -> Account:
    """Set an account's own limits, of `max_servers` and `max_duration_s`; None is the default.

    Raises :class:`Refusal` (forbidden, unknown_account, admin_only).
    """
    account = await known_account(session, account_id)
    require_rank(actor, account.role)
    account.max_servers = limits.get("max_servers", account.max_servers)
    account.max_duration_s = limits.get("max_duration_s", account.max_duration_s)
    if limits:
        audit.record(session, actor, "account.quota", account.id, now, **limits)
    return account


async def find_account(session: AsyncSession, id_or_email: str) -> Account | None:
    found = await session.exec(
        select(Account).where(
            or_(col(Account.id) == id_or_email, col(Account.email) == id_or_email.lower())
        )
    )
    return found.one_or_none()


async def all_accounts(
    session: AsyncSession, *, after: str | None, limit: int
) -> Sequence[Account]:
    query = select(Account).order_by(col(Account.id)).limit(limit)
    if after is not None:
        query = query.where(col(Account.id) > after)
    return (await session.exec(query)).all()


async def active_operators(session: AsyncSession) -> Sequence[Account]:
    """Return who may operate the site, by name."""
    roles = [role for role in Role if Permission.OPERATE in PERMISSIONS[role]]
    found = await session.exec(
        select(Account)
        .where(col(Account.role).in_(roles), col(Account.disabled_at).is_(None))
        .order_by(col(Account.name))
    )
    return found.all()


async def names_of(session: AsyncSession, account_ids: Collection[str]) -> dict[str, str]:
    """Return the names of accounts by identifier."""
    found = await session.exec(
        select(Account.id, Account.name).where(col(Account.id).in_(account_ids))
    )
    return {account_id: name for account_id, name in found}  # noqa: C416  # rows


async def known_account(session: AsyncSession, account_id: str) -> Account:
    """Load an account. Raises :class:`Refusal` (unknown_account)."""
    account = await session.get(Account, account_id)
    if account is None:
        raise Refusal(RefusalKind.NOT_FOUND, "unknown_account", f"no account {account_id!r}")
    return account


def require_rank(actor: Actor, role: Role) -> None:
    """Only administrators create accounts above the customer role, or issue tokens for them.

    Raises :class:`Refusal` (admin_only).
    """
    actor.require(Permission.MANAGE_CUSTOMERS)
    if role is not Role.CUSTOMER and not actor.may(Permission.MANAGE_STAFF):
        raise Refusal(
            RefusalKind.FORBIDDEN,
            "admin_only",
            f"only administrators manage accounts with the role {role.value}",
            next_action="ask an administrator",
        )
