"""Requests on servers: each server has a queue, from which the reconciler takes its work.

`domain.lifecycle.ALLOWED` lists what each state allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor, Permission
from provisioner.domain.lifecycle import ALLOWED, REACHED, RequestOutcome, RequestVerb, State
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.fleet.servers import server_named
from provisioner.store import audit
from provisioner.store.database import call_attention
from provisioner.store.tables import Image, Server, ServerRequest

MOST_OPEN = 10
"""The most requests that may wait for one server."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A system to install for an operator on a server in maintenance, and who may log in."""

    image: Image
    authorized_keys: Sequence[str]


async def request(
    session: AsyncSession,
    name: str,
    verb: RequestVerb,
    *,
    actor: Actor,
    now: datetime,
    reason: str = "",
    installation: Installation | None = None,
) -> ServerRequest:
    """Request work on a server that is not leased. Raises :class:`Refusal` (forbidden,
    unknown_server, request_refused, too_many_requests)."""
    actor.require(Permission.OPERATE)
    server = await server_named(session, name)
    if (verb is RequestVerb.IMAGE) != (installation is not None):
        raise ValueError(f"{verb}: an installation goes with the verb image and no other")
    if server.state is State.LEASED:
        raise Refusal(
            RefusalKind.CONFLICT,
            "request_refused",
            f"{name} is leased: file the request on its reservation",
            next_action="use POST /v1/reservations/{id}/requests",
        )
    arguments: dict[str, Any] = audit.why(reason)
    if installation is not None:
        arguments |= {
            "image_id": installation.image.id,
            "authorized_keys": list(installation.authorized_keys),
        }
    row = await file(session, server.id, verb, arguments, actor=actor, now=now)
    audit.record(
        session,
        actor,
        "server.request",
        server.id,
        now,
        verb=verb.value,
        request=row.id,
        **{key: arguments[key] for key in ("reason", "image_id") if key in arguments},
    )
    return row


async def file(
    session: AsyncSession,
    server_id: str,
    verb: RequestVerb,
    arguments: dict[str, Any],
    *,
    actor: Actor,
    now: datetime,
    lease_id: str | None = None,
) -> ServerRequest:
    """Add a request to a server's queue. A request for a state replaces any for other states.
    Raises :class:`Refusal` (request_refused, too_many_requests)."""
    # This locks the row, so that the state cannot change before the request is filed.
    await call_attention(session, server_id)
    server = await session.get_one(Server, server_id, populate_existing=True)
    allowed = ALLOWED[server.state]
    if verb not in allowed:
        options = ", ".join(sorted(allowed)) or "nothing"
        raise Refusal(
            RefusalKind.CONFLICT,
            "request_refused",
            f"{server.name} is {server.state.value}: {verb.value!r} cannot be requested now",
            next_action=f"allowed in this state: {options}",
            faults=(Fault("/verb", f"allowed in state {server.state.value}: {options}"),),
        )
    waiting = await open_requests(session, server_id)
    if verb in REACHED:
        for other in waiting:
            if other.verb in REACHED:
                end(other, RequestOutcome.CANCELLED, now, f"{verb.value} was requested instead")
    elif len(waiting) >= MOST_OPEN:
        raise Refusal(
            RefusalKind.CONFLICT,
            "too_many_requests",
            f"{server.name} already has {len(waiting)} open requests",
            next_action="wait until they are done",
        )
    row = ServerRequest(
        server_id=server_id,
        lease_id=lease_id,
        verb=verb,
        arguments=arguments,
        actor=actor.name,
        filed_at=now,
    )
    session.add(row)
    await session.flush()
    return row


async def open_requests(session: AsyncSession, server_id: str) -> Sequence[ServerRequest]:
    """Return a server's requests that are waiting or running, in the order of filing."""
    found = await session.exec(
        select(ServerRequest)
        .where(ServerRequest.server_id == server_id, col(ServerRequest.ended_at).is_(None))
        .order_by(col(ServerRequest.id))
    )
    return found.all()


def head(state: State, waiting: Sequence[ServerRequest]) -> ServerRequest | None:
    """Return the request to carry out first. One for another state goes before work in this one,
    as it may be the way out."""
    allowed = [row for row in waiting if row.verb in ALLOWED[state]]
    return next((row for row in allowed if row.verb in REACHED), next(iter(allowed), None))


def end(request: ServerRequest, outcome: RequestOutcome, now: datetime, failure: str = "") -> None:
    request.outcome, request.failure, request.ended_at = outcome, failure, now
