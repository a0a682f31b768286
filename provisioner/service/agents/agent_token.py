"""Which machine an agent's token speaks for."""

from aiohttp import web
from sqlmodel import col, select

from provisioner.service.context import services_of
from provisioner.service.http.bearer import bearer
from provisioner.service.http.problems import HttpError, unauthenticated
from provisioner.store.secrets import token_hash
from provisioner.store.tables import AgentIdentity


async def agent_identity(request: web.Request) -> AgentIdentity:
    """The identity of the request's bearer token, unless it was revoked (401)."""
    async with services_of(request).database.read() as session:
        found = await session.exec(
            select(AgentIdentity).where(
                AgentIdentity.token_hash == token_hash(bearer(request)),
                col(AgentIdentity.revoked_at).is_(None),
            )
        )
        identity = found.one_or_none()
    if identity is None:
        raise unknown_identity()
    return identity


def unknown_identity() -> HttpError:
    return unauthenticated("the agent's identity is unknown or was revoked")
