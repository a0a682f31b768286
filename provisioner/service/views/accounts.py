"""Accounts and SSH keys, without their secrets."""

from datetime import datetime

from provisioner.domain.access import Role
from provisioner.service.views.base import View
from provisioner.store.tables import Account, SshKey


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


def account_view(row: Account) -> AccountView:
    return AccountView.model_validate(row, from_attributes=True)


def ssh_key_view(row: SshKey) -> SshKeyView:
    return SshKeyView.model_validate(row, from_attributes=True)
