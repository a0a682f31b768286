"""Accounts and SSH keys, without what is secret."""

from datetime import datetime

from provisioner.domain.access import Role
from provisioner.service.views.base import View
from provisioner.store.tables import Account, SshKey


class AccountView(View):
    id: str
    name: str
    email: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None


class SshKeyView(View):
    id: str
    name: str
    public_key: str
    fingerprint: str
    created_at: datetime


def account_view(row: Account) -> AccountView:
    return AccountView.model_validate(row, from_attributes=True)


def ssh_key_view(row: SshKey) -> SshKeyView:
    return SshKeyView.model_validate(row, from_attributes=True)
