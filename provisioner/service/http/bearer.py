"""Identifies the caller by the request's bearer token."""

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
    if not token.isascii():
        raise unauthenticated("a token has ASCII characters only")
    return token


async def actor_by_token(request: web.Request) -> Actor:
    """Return the caller's actor. Raises HttpError (401) if the token is not valid."""
    services = services_of(request)
    token = bearer(request)
    async with services.database.read() as session:
        actor = await actor_of_token(session, token, services.clock())
    if actor is None:
        raise unauthenticated("the API token is unknown, expired or revoked")
    return actor


def unknown_agent() -> HttpError:
    """Build the error for an agent whose token is unknown or revoked: it stops asking."""
    return unauthenticated("the agent's identity is unknown or was revoked")
