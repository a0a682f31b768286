"""The actor behind an account or the bearer of a token."""

from provisioner.domain.access import Actor
from provisioner.store.tables import Account


def actor_of(account: Account) -> Actor:
    return Actor.account(account.id, account.role)
