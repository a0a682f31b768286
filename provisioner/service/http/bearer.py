"""Who is asking, by the bearer token of the request."""

from aiohttp import web

from provisioner.accounts.tokens import actor_of_token
from provisioner.domain.access import Actor
from provisioner.service.context import services_of
from provisioner.service.http.problems import HttpError, unauthenticated


def bearer(request: web.Request) -> str:
    """The bearer token of a request (RFC 6750 section 2.1)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise unauthenticated("this needs an API token")
    return token


async def actor_by_token(request: web.Request) -> Actor:
    """Raises HttpError (401) for a token that is not good."""
    services = services_of(request)
    token = bearer(request)
    async with services.database.read() as session:
        actor = await actor_of_token(session, token, services.clock())
    if actor is None:
        raise unauthenticated("the API token is unknown, expired or revoked")
    return actor


def unknown_agent() -> HttpError:
    """For an agent whose token is unknown or was revoked: it asks for nothing more."""
    return unauthenticated("the agent's identity is unknown or was revoked")
