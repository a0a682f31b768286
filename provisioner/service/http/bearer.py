"""Who is asking: the account of a request's bearer token."""

from aiohttp import web

from provisioner.accounts.tokens import account_of_token
from provisioner.service.context import services_of
from provisioner.service.http.problems import unauthenticated
from provisioner.store.tables import Account


def bearer(request: web.Request) -> str:
    """The bearer token of a request (RFC 6750 section 2.1)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise unauthenticated("this needs an API token")
    return token


async def account_by_token(request: web.Request) -> Account:
    """Raises HttpError (401) for a token that is not good."""
    services = services_of(request)
    token = bearer(request)
    async with services.database.read() as session:
        account = await account_of_token(session, token, services.clock())
    if account is None:
        raise unauthenticated("the API token is unknown, expired or revoked")
    return account
