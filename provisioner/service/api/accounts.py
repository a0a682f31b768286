"""Accounts, their API tokens and SSH keys."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from provisioner.accounts import accounts, credentials, passwords, ssh_keys, tokens
from provisioner.domain.access import Role
from provisioner.domain.ssh_keys import LONGEST as LONGEST_KEY
from provisioner.fleet.inventory import Line
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.views.accounts import (
    AccountView,
    ApiTokenView,
    SshKeyView,
    account_view,
    api_token_view,
    ssh_key_view,
)
from provisioner.service.views.base import Page, PageQuery, View, page

_TEN_YEARS_S = 10 * 366 * 86400


def _email(text: str) -> str:
    local, _, domain = text.rpartition("@")
    if not local or not domain or any(c.isspace() for c in text):
        raise ValueError("an e-mail address is name@domain")
    return text


Email = Annotated[Line, AfterValidator(_email)]


class NewSshKey(
    Body,
    title="NewSshKey",
    json_schema_extra={"examples": [{"name": "laptop", "public_key": "ssh-ed25519 AAAA… ada"}]},
):
    """An SSH public key to add."""

    name: Line
    """Name to recognise the key by."""
    public_key: str = Field(min_length=1, max_length=LONGEST_KEY)
    """The key, as the single line of a `.pub` file."""


class NewAccount(
    Body,
    title="NewAccount",
    json_schema_extra={"examples": [{"name": "Ada", "email": "ada@example.com"}]},
):
    """An account to create."""

    name: Line
    """Name of the person or organisation."""
    email: Email
    """E-mail address to log in with."""
    role: Role = Role.CUSTOMER
    """What the account may do. Only administrators create operators and administrators."""
    password: str | None = Field(
        default=None, min_length=passwords.SHORTEST, max_length=passwords.LONGEST
    )
    """Password for the web pages. Without one, the account can only use API tokens."""


class NewToken(
    Body,
    title="NewToken",
    json_schema_extra={"examples": [{"name": "ci", "expires_in_s": 2592000}]},
):
    """An API token to create."""

    name: Line
    """Name to recognise the token by."""
    expires_in_s: int | None = Field(
        default=int(tokens.DEFAULT_LIFETIME.total_seconds()), ge=60, le=_TEN_YEARS_S
    )
    """Lifetime in seconds; 90 days by default. Null for a token that does not expire."""


class NewPassword(
    Body,
    title="NewPassword",
    json_schema_extra={
        "examples": [{"current": "the one so far", "new": "correct horse battery staple"}]
    },
):
    """A new password for the caller's own account."""

    current: str = Field(max_length=passwords.LONGEST)
    """The present password."""
    new: str = Field(min_length=passwords.SHORTEST, max_length=passwords.LONGEST)
    """The new password."""


class TokenQuery(PageQuery):
    account: str | None = Field(default=None, max_length=200)
    """Identifier of another account. The caller's own by default."""


class OneTimePasswordView(View, title="OneTimePassword"):
    """A password that serves for one login, in which a new one has to be chosen."""

    account: str
    """Identifier of the account."""
    password: str
    """The password. It is shown only once."""


class NewQuota(
    Body,
    title="NewQuota",
    json_schema_extra={"examples": [{"servers": 32, "duration_s": 2592000}]},
):
    """Limits of an account. What is left out stays as it is; null is the site's default."""

    servers: int | None = Field(default=None, ge=0, le=100_000)
    """Servers at the same time."""
    duration_s: int | None = Field(default=None, ge=60, le=366 * 86400)
    """Length of a reservation in seconds, with its extensions."""


class TokenView(View, title="CreatedToken"):
    """A new API token."""

    id: str
    """Identifier of the token."""
    token: str
    """The token. It is shown only once."""
    expires_at: datetime | None
    """When the token expires. Null if it does not."""


async def me(call: Call) -> AccountView:
    """Show the caller's account."""
    async with call.services.database.read() as session:
        return account_view(
            await accounts.known_account(session, call.actor.account_id), call.services.quota
        )


async def list_keys(call: Call) -> Page[SshKeyView]:
    """List the account's SSH public keys."""
    async with call.services.database.read() as session:
        rows = await ssh_keys.keys_of(session, call.actor.account_id)
    return Page(items=[ssh_key_view(row) for row in rows])


async def add_key(call: Call, body: NewSshKey) -> SshKeyView:
    """Add an SSH public key."""
    async with call.services.database.write() as session:
        row = await ssh_keys.add_key(
            session, body.name, body.public_key, actor=call.actor, now=call.now()
        )
    return ssh_key_view(row)


async def remove_key(call: Call) -> None:
    """Remove an SSH public key.

    Servers that are already leased keep it.
    """
    async with call.services.database.write() as session:
        await ssh_keys.remove_key(session, call.path("id"), actor=call.actor, now=call.now())


async def list_accounts(call: Call, query: PageQuery) -> Page[AccountView]:
    """List accounts, oldest first."""
    async with call.services.database.read() as session:
        rows = await accounts.all_accounts(session, after=query.cursor, limit=query.fetch)
    shown, following = page(query, rows, lambda row: row.id)
    return Page(items=[account_view(row, call.services.quota) for row in shown], next=following)


async def create_account(call: Call, body: NewAccount) -> AccountView:
    """Create an account.

    Only administrators create operators and administrators.
    """
    password_hash = await passwords.hash_password(body.password) if body.password else ""
    async with call.services.database.write() as session:
        row = await accounts.create_account(
            session,
            name=body.name,
            email=body.email,
            role=body.role,
            password_hash=password_hash,
            actor=call.actor,
            now=call.now(),
        )
    return account_view(row, call.services.quota)


async def issue_token(call: Call, body: NewToken) -> TokenView:
    """Create an API token for an account.

    The token is shown only once. It expires after 90 days, unless the request says otherwise.
    """
    lifetime = None if body.expires_in_s is None else timedelta(seconds=body.expires_in_s)
    async with call.services.database.write() as session:
        row, text = await tokens.issue_token(
            session,
            call.path("id"),
            body.name,
            lifetime=lifetime,
            actor=call.actor,
            now=call.now(),
        )
    return TokenView(id=row.id, token=text, expires_at=row.expires_at)


async def disable_account(call: Call) -> AccountView:
    """Disable an account.

    Its logins, sessions, tokens and event streams end at once. Its leases run to their end.
    """
    async with call.services.database.write() as session:
        row = await accounts.disable_account(
            session, call.path("id"), actor=call.actor, now=call.now()
        )
    return account_view(row, call.services.quota)


async def set_quota(call: Call, body: NewQuota) -> AccountView:
    """Set what an account may reserve.

    Reservations that were made before stay.
    """
    limits = {f"max_{name}": value for name, value in body.model_dump(exclude_unset=True).items()}
    async with call.services.database.write() as session:
        row = await accounts.set_quota(
            session, call.path("id"), limits, actor=call.actor, now=call.now()
        )
    return account_view(row, call.services.quota)


async def enable_account(call: Call) -> AccountView:
    """Enable a disabled account again.

    Its password works again; tokens from before stay revoked.
    """
    async with call.services.database.write() as session:
        row = await accounts.enable_account(
            session, call.path("id"), actor=call.actor, now=call.now()
        )
    return account_view(row, call.services.quota)


async def change_password(call: Call, body: NewPassword) -> None:
    """Change the password of the caller's account.

    All of its sessions end. API tokens keep working.
    """
    async with call.services.database.read() as session:
        account = await accounts.known_account(session, call.actor.account_id)
    if not await passwords.matches(account.password_hash, body.current):
        raise credentials.wrong_password()
    password_hash = await passwords.hash_password(body.new)
    async with call.services.database.write() as session:
        await credentials.change_password(
            session, account, password_hash, actor=call.actor, now=call.now()
        )


async def reset_password(call: Call) -> OneTimePasswordView:
    """Give an account a one-time password.

    It is shown only once and serves for one login, in which a new password has to be chosen. All
    sessions of the account end; its API tokens keep working.
    """
    password = credentials.one_time_password()
    password_hash = await passwords.hash_password(password)
    async with call.services.database.write() as session:
        row = await credentials.reset_password(
            session, call.path("id"), password_hash, actor=call.actor, now=call.now()
        )
    return OneTimePasswordView(account=row.id, password=password)


async def list_tokens(call: Call, query: TokenQuery) -> Page[ApiTokenView]:
    """List the API tokens of an account that work, oldest first.

    Operators may list those of customers, administrators those of everybody.
    """
    account_id = query.account or call.actor.account_id
    async with call.services.database.read() as session:
        rows = await tokens.tokens_of(session, account_id, actor=call.actor, now=call.now())
    later = [row for row in rows if query.cursor is None or row.id > query.cursor]
    shown, following = page(query, later, lambda row: row.id)
    return Page(items=[api_token_view(row) for row in shown], next=following)


async def revoke_token(call: Call) -> None:
    """Revoke an API token.

    It stops working at once, and streams that were opened with it end. Operators may revoke those
    of customers, administrators those of everybody.
    """
    async with call.services.database.write() as session:
        await tokens.revoke_token(session, call.path("id"), actor=call.actor, now=call.now())
