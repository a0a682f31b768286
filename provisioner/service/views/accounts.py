"""Accounts, API tokens and SSH keys, without their secrets."""

from datetime import datetime

from provisioner.domain.access import Role
from provisioner.domain.quotas import Quota
from provisioner.rental.quotas import quota_of
from provisioner.service.views.base import View
from provisioner.store.tables import Account, ApiToken, SshKey


class QuotaView(View, title="Quota"):
    """How much of the site a customer may reserve. Operators are not held to it."""

    servers: int
    """Servers at the same time."""
    duration_s: int
    """Length of a reservation in seconds, with its extensions."""
    own: bool
    """Whether a limit was set for this account. False: both are the site's."""


class AccountView(View, title="Account"):
    """A person or program that may log in or call the API."""

    id: str
    """Identifier of the account."""
    name: str
    """Name of the person or organisation."""
    email: str
    """E-mail address to log in with."""
    role: Role
    """What the account may do."""
    created_at: datetime
    """When the account was created."""
    disabled_at: datetime | None
    """When the account was disabled. Null while it is active."""
    quota: QuotaView
    """What it may reserve."""


class ApiTokenView(View, title="ApiToken"):
    """An API token of an account. The token itself is shown only when it is created."""

    id: str
    """Identifier of the token."""
    account: str
    """Identifier of the account that the token belongs to."""
    name: str
    """What the token is for."""
    created_at: datetime
    """When the token was created."""
    expires_at: datetime | None
    """When the token expires. Null if it does not."""
    last_used_at: datetime | None
    """When the token was last used, to the hour. Null if it never was."""


class SshKeyView(View, title="SshKey"):
    """An SSH public key of an account."""

    id: str
    """Identifier of the key."""
    name: str
    """Name to recognise the key by."""
    public_key: str
    """The key, as the single line of a `.pub` file."""
    fingerprint: str
    """SHA-256 fingerprint, as `ssh-keygen -l` prints it."""
    created_at: datetime
    """When the key was added."""


def account_view(row: Account, defaults: Quota) -> AccountView:
    """`defaults` are the limits of accounts without their own."""
    quota = quota_of(row, defaults)
    return AccountView(
        **row.model_dump(include=set(AccountView.model_fields)),
        quota=QuotaView(
            servers=quota.servers,
            duration_s=int(quota.duration.total_seconds()),
            own=quota != defaults,
        ),
    )


def api_token_view(row: ApiToken) -> ApiTokenView:
    return ApiTokenView(
        id=row.id,
        account=row.account_id,
        name=row.name,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


def ssh_key_view(row: SshKey) -> SshKeyView:
    return SshKeyView.model_validate(row, from_attributes=True)
