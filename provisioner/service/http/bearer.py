"""Identifies the caller by the request's bearer token."""

from aiohttp import web

from provisioner.accounts.tokens import Bearer, bearer_of_token, record_use
from provisioner.domain.access import Actor
from provisioner.service.context import Services, services_of
from provisioner.service.http.problems import HttpError, unauthenticated
from provisioner.service.http.streams import end_stream_unless


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
    """Return the caller's actor. Raises HttpError (401) if the token is not valid.

    A stream of this request ends soon after the token does.
    """
    services = services_of(request)
    token = bearer(request)
    sender = await _sender(services, token)
    if sender is None:
        raise unauthenticated("the API token is unknown, expired or revoked")
    if sender.is_use_due:
        async with services.database.write() as session:
            await record_use(session, sender.token_id, services.clock())

    async def is_valid() -> bool:
        return await _sender(services, token) is not None

    end_stream_unless(request, is_valid)
    return sender.actor


async def _sender(services: Services, token: str) -> Bearer | None:
    async with services.database.read() as session:
        return await bearer_of_token(session, token, services.clock())


def unknown_agent() -> HttpError:
    """Build the error for an agent whose token is unknown or revoked: it stops asking."""
    return unauthenticated("the agent's identity is unknown or was revoked")
