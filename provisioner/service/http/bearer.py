"""Who is asking: an account by its bearer token, and what its role allows."""

from dataclasses import dataclass

from aiohttp import web

from provisioner.accounts.accounts import account_of_token
from provisioner.service.context import services_of
from provisioner.service.http.problems import HttpError, unauthenticated
from provisioner.store.tables import Account, Role

_RANK = {Role.CUSTOMER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}


@dataclass(frozen=True, slots=True)
class Caller:
    account: Account

    @property
    def actor(self) -> str:
        """As the audit trail names it."""
        return f"account:{self.account.id}"

    @property
    def is_operator(self) -> bool:
        return self.may(Role.OPERATOR)

    def may(self, role: Role) -> bool:
        return _RANK[self.account.role] >= _RANK[role]

    def require(self, role: Role) -> None:
        if not self.may(role):
            raise HttpError(
                403,
                "forbidden",
                f"this is for accounts of role {role.value}; yours is {self.account.role.value}",
                next_action="ask an administrator for the role",
            )


def bearer(request: web.Request) -> str:
    """The bearer token of a request (RFC 6750 section 2.1)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise unauthenticated("this needs an API token")
    return token


async def caller_by_token(request: web.Request) -> Caller:
    services = services_of(request)
    token = bearer(request)
    async with services.database.read() as session:
        account = await account_of_token(session, token, services.clock())
    if account is None:
        raise unauthenticated("the API token is unknown, expired or revoked")
    return Caller(account)
