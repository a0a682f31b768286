"""Accounts and SSH keys, without their secrets."""

from datetime import datetime

from provisioner.domain.access import Role
from provisioner.domain.quotas import Quota
from provisioner.rental.quotas import quota_of
from provisioner.service.views.base import View
from provisioner.store.tables import Account, SshKey


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


def ssh_key_view(row: SshKey) -> SshKeyView:
    return SshKeyView.model_validate(row, from_attributes=True)
