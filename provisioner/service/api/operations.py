"""Operations, live; incidents; the audit trail."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from aiohttp import web
from pydantic import Field
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.refusals import Refusal, RefusalKind
from provisioner.fleet import incidents as fleet_incidents
from provisioner.fleet.servers import server_named
from provisioner.service.context import Services
from provisioner.service.http.endpoint import Call
from provisioner.service.http.streams import ServerSentEvent, send_events
from provisioner.service.views.base import Page, PageQuery, page
from provisioner.service.views.operations import (
    AuditView,
    IncidentView,
    LogView,
    OperationDetail,
    OperationView,
    audit_view,
    incident_view,
    log_after,
    log_view,
    operation_detail,
    operation_view,
)
from provisioner.store.tables import AuditEvent, Incident, Operation, Server

_LINES_A_LOOK = 500


class OperationQuery(PageQuery):
    server: str | None = None


class LogQuery(PageQuery):
    after: str | None = Field(default=None, max_length=200)
    """Only lines after the one of this identifier."""


class EventsQuery(PageQuery):
    after: str | None = Field(default=None, max_length=200)


class IncidentQuery(PageQuery):
    open: bool | None = None


class AuditQuery(PageQuery):
    subject: str | None = None


async def _operation(session: AsyncSession, operation_id: str) -> Operation:
    row = await session.get(Operation, operation_id)
    if row is None:
        raise Refusal(RefusalKind.NOT_FOUND, "unknown_operation", f"no operation {operation_id!r}")
    return row


async def list_all(call: Call, query: OperationQuery) -> Page[OperationView]:
    """Operations, the newest first"""
    statement = (
        select(Operation, Server.name)
        .join(Server, col(Server.id) == col(Operation.server_id))
        .order_by(col(Operation.id).desc())
        .limit(query.fetch)
    )
    async with call.services.database.read() as session:
        if query.server is not None:
            server = await server_named(session, query.server)
            statement = statement.where(Operation.server_id == server.id)
        if query.cursor is not None:
            statement = statement.where(col(Operation.id) < query.cursor)
        rows = (await session.exec(statement)).all()
    shown, following = page(query, rows, lambda row: row[0].id)
    return Page(items=[operation_view(row, name) for row, name in shown], next=following)


async def show(call: Call) -> OperationDetail:
    """One operation with every attempt at its steps"""
    async with call.services.database.read() as session:
        return await operation_detail(session, await _operation(session, call.path("id")))


async def log(call: Call, query: LogQuery) -> Page[LogView]:
    """Lines of an operation's log, in order"""
    after = max(filter(None, (query.after, query.cursor)), default=None)
    async with call.services.database.read() as session:
        operation = await _operation(session, call.path("id"))
        rows = await log_after(session, operation.id, after, query.fetch)
    shown, following = page(query, rows, lambda row: row.id)
    return Page(items=[log_view(row) for row in shown], next=following)


async def events(call: Call, query: EventsQuery) -> web.StreamResponse:
    """Server-sent events: `log` for each line, `operation` on every change, to its end.

    A client goes on after a line by `after` or the header Last-Event-ID.
    """
    after = call.request.headers.get("Last-Event-ID") or query.after
    async with call.services.database.read() as session:
        operation = await _operation(session, call.path("id"))
    return await send_events(call.request, _follow(call.services, operation.id, after))


async def _follow(
    services: Services, operation_id: str, after: str | None
) -> AsyncIterator[ServerSentEvent | None]:
    last = ""
    while True:
        async with services.database.read() as session:
            # The operation first: once it has ended, all of its lines are there to be read.
            view = await operation_detail(session, await _operation(session, operation_id))
            lines = await log_after(session, operation_id, after, _LINES_A_LOOK)
        for line in lines:
            after = line.id
            yield ServerSentEvent("log", log_view(line).model_dump_json(), id=line.id)
        data = view.model_dump_json()
        if len(lines) == _LINES_A_LOOK:
            continue
        yield ServerSentEvent("operation", data) if data != last else None
        last = data
        if view.ended_at is not None:
            return
        await asyncio.sleep(services.poll_s)


async def list_incidents(call: Call, query: IncidentQuery) -> Page[IncidentView]:
    """Incidents, the newest first; `open=true` for those that somebody has to see to"""
    async with call.services.database.read() as session:
        rows = await incidents(session, query)
    shown, following = page(query, rows, lambda row: row[0].id)
    return Page(items=[incident_view(row, name) for row, name in shown], next=following)


async def close_incident(call: Call) -> IncidentView:
    """Close the circuit breaker's incident; the others close by themselves"""
    async with call.services.database.write() as session:
        row = await fleet_incidents.close_incident(
            session, call.path("id"), actor=call.caller.actor, now=call.now()
        )
        return incident_view(row, None)


async def incidents(
    session: AsyncSession, query: IncidentQuery
) -> Sequence[tuple[Incident, str | None]]:
    """Incidents with the name of their server; None where it is about many."""
    statement = (
        select(Incident, Server.name)
        .outerjoin(Server, col(Server.id) == col(Incident.server_id))
        .order_by(col(Incident.id).desc())
        .limit(query.fetch)
    )
    if query.open is True:
        statement = statement.where(col(Incident.closed_at).is_(None))
    elif query.open is False:
        statement = statement.where(col(Incident.closed_at).is_not(None))
    if query.cursor is not None:
        statement = statement.where(col(Incident.id) < query.cursor)
    return (await session.exec(statement)).all()


async def list_audit(call: Call, query: AuditQuery) -> Page[AuditView]:
    """The audit trail, the newest first"""
    statement = select(AuditEvent).order_by(col(AuditEvent.id).desc()).limit(query.fetch)
    if query.subject is not None:
        statement = statement.where(AuditEvent.subject == query.subject)
    if query.cursor is not None:
        statement = statement.where(col(AuditEvent.id) < query.cursor)
    async with call.services.database.read() as session:
        rows = (await session.exec(statement)).all()
    shown, following = page(query, rows, lambda row: row.id)
    return Page(items=[audit_view(row) for row in shown], next=following)
