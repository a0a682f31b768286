"""API tokens, stored as hashes only, and the first administrator's way in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.accounts.accounts import find_account, known_account, require_rank
from provisioner.accounts.actor import actor_of
from provisioner.domain.access import PROVISIONER, Actor, Permission, Role
from provisioner.domain.refusals import Refusal, RefusalKind
from provisioner.store import audit
from provisioner.store.columns import utc_now
from provisioner.store.secrets import new_token, token_hash
from provisioner.store.tables import Account, ApiToken

FIRST_ADMIN = "admin@localhost"
_BOOTSTRAP = "bootstrap"
DEFAULT_LIFETIME = timedelta(days=90)
_USE_RECORDED_EVERY = timedelta(hours=1)


async def issue_token(
    session: AsyncSession,
    account_id: str,
    name: str,
    *,
    lifetime: timedelta | None = DEFAULT_LIFETIME,
    actor: Actor,
    now: datetime,
) -> tuple[ApiToken, str]:
    """Create an API token; its text is returned only this once and stored as a hash. It does not
    expire if `lifetime` is None.

    Raises :class:`Refusal` (forbidden, unknown_account, admin_only).
    """
    account = await known_account(session, account_id)
    require_rank(actor, account.role)
    token, text = _new(account, name, now, lifetime)
    session.add(token)
    audit.record(session, actor, "token.issue", account.id, now, token=token.id)
    return token, text


async def tokens_of(
    session: AsyncSession, account_id: str, *, actor: Actor, now: datetime
) -> Sequence[ApiToken]:
    """Return the tokens of an account that work, oldest first. Raises :class:`Refusal`
    (forbidden, unknown_account, admin_only)."""
    if account_id != actor.account_id:
        require_rank(actor, (await known_account(session, account_id)).role)
    found = await session.exec(
        select(ApiToken)
        .where(
            ApiToken.account_id == account_id,
            col(ApiToken.revoked_at).is_(None),
            or_(col(ApiToken.expires_at).is_(None), col(ApiToken.expires_at) > now),
        )
        .order_by(col(ApiToken.id))
    )
    return found.all()


async def revoke_token(
    session: AsyncSession, token_id: str, *, actor: Actor, now: datetime
) -> None:
    """End one token: an own one, or one of an account that the actor manages.

    Raises :class:`Refusal` (unknown_token, admin_only); a customer is not told that others' exist.
    """
    token = await session.get(ApiToken, token_id)
    is_own = token is not None and token.account_id == actor.account_id
    if token is None or not (is_own or actor.may(Permission.MANAGE_CUSTOMERS)):
        raise Refusal(
            RefusalKind.NOT_FOUND,
            "unknown_token",
            f"no API token {token_id!r}",
            next_action="list them with GET /v1/tokens",
        )
    if not is_own:
        require_rank(actor, (await known_account(session, token.account_id)).role)
    if token.revoked_at is None:
        token.revoked_at = now
        audit.record(session, actor, "token.revoke", token.account_id, now, token=token.id)


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who sent a token."""

    actor: Actor
    token_id: str
    is_use_due: bool
    """Whether it is time to record that the token is used."""


async def bearer_of_token(session: AsyncSession, text: str, now: datetime) -> Bearer | None:
    """Return who sends a bearer token; None if it or its account is no longer valid."""
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
    if token.expires_at is not None and token.expires_at <= now:
        return None
    is_use_due = token.last_used_at is None or now - token.last_used_at >= _USE_RECORDED_EVERY
    return Bearer(actor_of(account), token.id, is_use_due)


async def record_use(session: AsyncSession, token_id: str, now: datetime) -> None:
    await session.exec(
        update(ApiToken).where(col(ApiToken.id) == token_id).values(last_used_at=now)
    )


async def bootstrap_admin(session: AsyncSession) -> str:
    """Issue a new token to the first administrator, creating the account if needed.

    Tokens issued by this function before stop working: it is also the way back in after a loss.
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
    token, text = _new(admin, _BOOTSTRAP, now, DEFAULT_LIFETIME)
    session.add(token)
    audit.record(session, PROVISIONER, "token.issue", admin.id, now, token=token.id)
    return text


def _new(
    account: Account, name: str, now: datetime, lifetime: timedelta | None
) -> tuple[ApiToken, str]:
    text = new_token("il")
    token = ApiToken(
        account_id=account.id,
        name=name,
        token_hash=token_hash(text),
        created_at=now,
        expires_at=now + lifetime if lifetime is not None else None,
    )
    return token, text
