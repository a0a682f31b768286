"""Accounts and their API tokens, as operators make them; the first administrator."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.store import audit
from provisioner.store.columns import utc_now
from provisioner.store.secrets import new_token, token_hash
from provisioner.store.tables import Account, ApiToken, Role

FIRST_ADMIN = "admin@localhost"
_BOOTSTRAP = "bootstrap"


async def create_account(
    session: AsyncSession,
    *,
    name: str,
    email: str,
    role: Role,
    password_hash: str,
    by: Account,
    now: datetime,
) -> Account:
    """Make an account. Raises :class:`Refusal` (admin_only, email_exists)."""
    _require_rank(by, role)
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
    audit.record(session, f"account:{by.id}", "account.create", account.id, now, role=role.value)
    return account


async def issue_token(
    session: AsyncSession,
    account_id: str,
    name: str,
    *,
    lifetime: timedelta | None,
    by: Account,
    now: datetime,
) -> tuple[ApiToken, str]:
    """Make an API token; its text is returned this once and kept as a hash only.

    Raises :class:`Refusal` (unknown_account, admin_only).
    """
    account = await _account(session, account_id)
    _require_rank(by, account.role)
    text = new_token("il")
    token = ApiToken(
        account_id=account.id,
        name=name,
        token_hash=token_hash(text),
        created_at=now,
        expires_at=now + lifetime if lifetime is not None else None,
    )
    session.add(token)
    audit.record(session, f"account:{by.id}", "token.issue", account.id, now, token=token.id)
    return token, text


async def disable_account(
    session: AsyncSession, account_id: str, *, by: Account, now: datetime
) -> Account:
    """End an account's logins, sessions and tokens at once. Its leases run to their end.

    Raises :class:`Refusal` (unknown_account, admin_only, own_account).
    """
    account = await _account(session, account_id)
    _require_rank(by, account.role)
    if account.id == by.id:
        raise Refusal(
            RefusalKind.CONFLICT,
            "own_account",
            "nobody disables the account they are logged in with",
            next_action="have another administrator do it",
        )
    if account.disabled_at is None:
        account.disabled_at = now
        audit.record(session, f"account:{by.id}", "account.disable", account.id, now)
    return account


async def find_account(session: AsyncSession, id_or_email: str) -> Account | None:
    found = await session.exec(
        select(Account).where(
            or_(col(Account.id) == id_or_email, col(Account.email) == id_or_email.lower())
        )
    )
    return found.one_or_none()


async def account_of_token(session: AsyncSession, text: str, now: datetime) -> Account | None:
    """The account that a bearer token belongs to; None when either is no longer good."""
    found = await session.exec(
        select(ApiToken, Account)
        .join(Account, col(Account.id) == col(ApiToken.account_id))
        .where(
            ApiToken.token_hash == token_hash(text),
            col(ApiToken.revoked_at).is_(None),
            col(Account.disabled_at).is_(None),
        )
    )
    row = found.one_or_none()
    if row is None:
        return None
    token, account = row
    return account if token.expires_at is None or token.expires_at > now else None


async def bootstrap_admin(session: AsyncSession) -> str:
    """A new token of the first administrator, who is made when there is none.

    Earlier tokens made by this function stop working: it is also the way back in after a loss.
    """
    now = utc_now()
    admin = await find_account(session, FIRST_ADMIN)
    if admin is None:
        admin = Account(
            name="First administrator", email=FIRST_ADMIN, role=Role.ADMIN, created_at=now
        )
        session.add(admin)
        await session.flush()
    await session.exec(
        update(ApiToken)
        .where(
            col(ApiToken.account_id) == admin.id,
            col(ApiToken.name) == _BOOTSTRAP,
            col(ApiToken.revoked_at).is_(None),
        )
        .values(revoked_at=now)
    )
    text = new_token("il")
    token = ApiToken(
        account_id=admin.id, name=_BOOTSTRAP, token_hash=token_hash(text), created_at=now
    )
    session.add(token)
    audit.record(session, "provisioner", "token.issue", admin.id, now, token=token.id)
    return text


async def all_accounts(
    session: AsyncSession, *, after: str | None, limit: int
) -> Sequence[Account]:
    query = select(Account).order_by(col(Account.id)).limit(limit)
    if after is not None:
        query = query.where(col(Account.id) > after)
    return (await session.exec(query)).all()


async def _account(session: AsyncSession, account_id: str) -> Account:
    account = await session.get(Account, account_id)
    if account is None:
        raise Refusal(RefusalKind.NOT_FOUND, "unknown_account", f"no account {account_id!r}")
    return account


def _require_rank(by: Account, role: Role) -> None:
    """Only administrators make, or get tokens of, accounts that are more than a customer's."""
    if role is not Role.CUSTOMER and by.role is not Role.ADMIN:
        raise Refusal(
            RefusalKind.FORBIDDEN,
            "admin_only",
            f"an account of role {role.value} is an administrator's to manage",
            next_action="ask an administrator",
        )
