"""API tokens, stored as hashes only, and the first administrator's way in."""

from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.accounts.accounts import find_account, known_account, require_rank
from provisioner.accounts.actor import actor_of
from provisioner.domain.access import PROVISIONER, Actor, Role
from provisioner.store import audit
from provisioner.store.columns import utc_now
from provisioner.store.secrets import new_token, token_hash
from provisioner.store.tables import Account, ApiToken

FIRST_ADMIN = "admin@localhost"
_BOOTSTRAP = "bootstrap"


async def issue_token(
    session: AsyncSession,
    account_id: str,
    name: str,
    *,
    lifetime: timedelta | None,
    actor: Actor,
    now: datetime,
) -> tuple[ApiToken, str]:
    """Create an API token; its text is returned only this once and stored as a hash.

    Raises :class:`Refusal` (forbidden, unknown_account, admin_only).
    """
    account = await known_account(session, account_id)
    require_rank(actor, account.role)
    token, text = _new(account, name, now, lifetime)
    session.add(token)
    audit.record(session, actor, "token.issue", account.id, now, token=token.id)
    return token, text


async def actor_of_token(session: AsyncSession, text: str, now: datetime) -> Actor | None:
    """Return the actor behind a bearer token; None if it or its account is no longer valid."""
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
    expired = token.expires_at is not None and token.expires_at <= now
    return None if expired else actor_of(account)


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
    token, text = _new(admin, _BOOTSTRAP, now, None)
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
