"""Requests on servers, and their outcomes."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.lifecycle import RequestOutcome, RequestVerb
from provisioner.service.views.base import Page, PageQuery, View, page
from provisioner.store.tables import Lease, Server, ServerRequest


class RequestView(View, title="ServerRequest"):
    """A request for work on a server."""

    id: str
    """Identifier of the request."""
    server: str
    """Name of the server."""
    verb: RequestVerb
    """What was requested."""
    reason: str
    """Reason given for the request. May be empty."""
    actor: str
    """Who made the request, such as `account:acc_…`."""
    filed_at: datetime
    """When the request was made."""
    taken_at: datetime | None
    """When work on the request began. Null while it is waiting."""
    ended_at: datetime | None
    """When the request was done, failed or cancelled. Null until then."""
    outcome: RequestOutcome
    """Outcome of the request."""
    failure: str
    """Why the request failed or was cancelled. Empty otherwise."""


def request_view(row: ServerRequest, server_name: str) -> RequestView:
    return RequestView(
        id=row.id,
        server=server_name,
        verb=row.verb,
        reason=str(row.arguments.get("reason", "")),
        actor=row.actor,
        filed_at=row.filed_at,
        taken_at=row.taken_at,
        ended_at=row.ended_at,
        outcome=row.outcome,
        failure=row.failure,
    )


async def filed_request(session: AsyncSession, row: ServerRequest) -> RequestView:
    """Return the view of a request that was filed in this session."""
    return request_view(row, (await session.get_one(Server, row.server_id)).name)


async def server_requests(
    session: AsyncSession, server: Server, query: PageQuery
) -> Page[RequestView]:
    """Return the requests on a server, newest first."""
    statement = select(ServerRequest).where(ServerRequest.server_id == server.id)
    if query.cursor is not None:
        statement = statement.where(col(ServerRequest.id) < query.cursor)
    rows = await session.exec(statement.order_by(col(ServerRequest.id).desc()).limit(query.fetch))
    shown, following = page(query, rows.all(), lambda row: row.id)
    return Page(items=[request_view(row, server.name) for row in shown], next=following)


async def reservation_requests(
    session: AsyncSession, reservation_id: str, query: PageQuery
) -> Page[RequestView]:
    """Return the requests on a reservation's servers, newest first."""
    statement = (
        select(ServerRequest, Server.name)
        .join(Server, col(Server.id) == col(ServerRequest.server_id))
        .join(Lease, col(Lease.id) == col(ServerRequest.lease_id))
        .where(Lease.reservation_id == reservation_id)
    )
    if query.cursor is not None:
        statement = statement.where(col(ServerRequest.id) < query.cursor)
    rows = await session.exec(statement.order_by(col(ServerRequest.id).desc()).limit(query.fetch))
    shown, following = page(query, rows.all(), lambda row: row[0].id)
    return Page(items=[request_view(row, name) for row, name in shown], next=following)


async def open_requests_of(
    session: AsyncSession, server_ids: Iterable[str]
) -> dict[str, list[ServerRequest]]:
    """Return the open requests by server, in order."""
    rows = await session.exec(
        select(ServerRequest)
        .where(
            col(ServerRequest.server_id).in_(list(server_ids)),
            col(ServerRequest.ended_at).is_(None),
        )
        .order_by(col(ServerRequest.id))
    )
    found: dict[str, list[ServerRequest]] = {}
    for row in rows:
        found.setdefault(row.server_id, []).append(row)
    return found


async def last_requests_of_leases(
    session: AsyncSession, lease_ids: Sequence[str]
) -> dict[str, ServerRequest]:
    """Return the newest request by lease."""
    rows = await session.exec(
        select(ServerRequest)
        .where(col(ServerRequest.lease_id).in_(lease_ids))
        .order_by(col(ServerRequest.id))
    )
    return {str(row.lease_id): row for row in rows}
