"""Who acts, and what they may do: one table from role to permissions.

Every use case takes an :class:`Actor`, asks here, and writes its audit event in the actor's name.
"""

from dataclasses import dataclass
from enum import StrEnum

from provisioner.domain.refusals import Refusal, RefusalKind


class Role(StrEnum):
    """What an account may do at the site."""

    CUSTOMER = "customer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Permission(StrEnum):
    RENT = "rent"
    """Reserve servers, and manage one's own reservations, keys and webhook."""
    SEE_ALL = "see_all"
    """See and manage everybody's reservations, and reserve on behalf of others."""
    OPERATE = "operate"
    """Enrol servers, request work on them, import images, close incidents."""
    MANAGE_CUSTOMERS = "manage_customers"
    """Create and disable customers' accounts, and issue their tokens."""
    MANAGE_STAFF = "manage_staff"
    """The same for operators and administrators."""


_CUSTOMER = frozenset({Permission.RENT})
_OPERATOR = _CUSTOMER | {Permission.SEE_ALL, Permission.OPERATE, Permission.MANAGE_CUSTOMERS}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.CUSTOMER: _CUSTOMER,
    Role.OPERATOR: _OPERATOR,
    Role.ADMIN: _OPERATOR | {Permission.MANAGE_STAFF},
}


def least_role(permission: Permission) -> Role:
    """Return the role with the fewest permissions that includes this one."""
    holders = [role for role in Role if permission in PERMISSIONS[role]]
    return min(holders, key=lambda role: len(PERMISSIONS[role]))


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and on whose behalf."""

    name: str
    """As the audit trail writes it: `account:acc_…`, `agent:srv_…`, `reconciler`."""
    scopes: frozenset[Permission]
    """What this actor may do: all that its role allows, or less."""
    account_id: str = ""
    """The account on whose behalf it acts; empty for the provisioner itself."""
    role: Role | None = None
    """None for actors without an account: agents and the provisioner."""

    @classmethod
    def account(cls, account_id: str, role: Role) -> "Actor":
        return cls(f"account:{account_id}", PERMISSIONS[role], account_id, role)

    @classmethod
    def tenant_agent(cls, server_id: str, account_id: str) -> "Actor":
        """Root on a leased server, acting for its customer."""
        return cls(f"agent:{server_id}", _CUSTOMER, account_id)

    @classmethod
    def ramdisk_agent(cls, server_id: str) -> "Actor":
        return cls(f"agent:{server_id}", frozenset())

    def may(self, permission: Permission) -> bool:
        return permission in self.scopes

    def may_see(self, account_id: str) -> bool:
        """Whether this actor may see what belongs to an account."""
        return account_id == self.account_id or self.may(Permission.SEE_ALL)

    def require(self, permission: Permission) -> None:
        """Raise :class:`Refusal` (forbidden) unless the actor may do this."""
        if self.may(permission):
            return
        needed = least_role(permission).value
        yours = f"; yours is {self.role.value}" if self.role else ""
        raise Refusal(
            RefusalKind.FORBIDDEN,
            "forbidden",
            f"this needs the role {needed}{yours}",
            next_action="ask an administrator for the role",
        )


RECONCILER = Actor("reconciler", frozenset())
"""Moves servers along the transition table."""
PROVISIONER = Actor("provisioner", frozenset(Permission))
"""The daemon itself, and anyone who runs its command line on its machine."""
