"""Operations and their live logs, incidents, and the audit trail."""

import asyncio
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from pydantic import Field

from provisioner import incidents
from provisioner.accounts.accounts import find_account, known_account
from provisioner.service.context import Services
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.http.problems import HttpError
from provisioner.service.http.streams import STREAMS, ServerSentEvent, send_events
from provisioner.service.views.audit import AuditQuery, AuditView, audit_page
from provisioner.service.views.base import Page, PageQuery, page
from provisioner.service.views.operations import (
    IncidentQuery,
    IncidentView,
    LogQuery,
    LogView,
    OperationDetail,
    OperationQuery,
    OperationView,
    incident_page,
    known_operation,
    log_after,
    log_view,
    operation_detail,
    operation_page,
    shown_incident,
)

_LINES_A_LOOK = 500
_LONGEST_ID = 200


class EventsQuery(PageQuery):
    after: str | None = Field(default=None, max_length=_LONGEST_ID)
    """Only lines after the one with this identifier. `Last-Event-ID` takes precedence."""


class NewAssignment(
    Body, title="NewAssignment", json_schema_extra={"examples": [{"account": "ada@example.com"}]}
):
    """Who is to work on an incident."""

    account: str | None = Field(max_length=200)
    """Identifier or e-mail address of an operator. Null for nobody."""


class NewIncidentNote(
    Body,
    title="NewIncidentNote",
    json_schema_extra={"examples": [{"text": "A new fan is ordered."}]},
):
    """A note on an incident."""

    text: str = Field(min_length=1, max_length=4000)
    """The note."""


async def list_all(call: Call, query: OperationQuery) -> Page[OperationView]:
    """List operations, newest first."""
    async with call.services.database.read() as session:
        return await operation_page(session, query)


async def show(call: Call) -> OperationDetail:
    """Show an operation with every attempt at its steps."""
    async with call.services.database.read() as session:
        return await operation_detail(session, await known_operation(session, call.path("id")))


async def log(call: Call, query: LogQuery) -> Page[LogView]:
    """List the lines of an operation's log, in order."""
    after = max(filter(None, (query.after, query.cursor)), default=None)
    async with call.services.database.read() as session:
        operation = await known_operation(session, call.path("id"))
        rows = await log_after(session, operation.id, after, query.fetch)
    shown, following = page(query, rows, lambda row: row.id)
    return Page(items=[log_view(row) for row in shown], next=following)


async def events(call: Call, query: EventsQuery) -> web.StreamResponse:
    """Follow an operation to its end.

    Server-sent events: `log` for each line of the log, with the line's identifier as `id`, and
    `operation` on every change. After a lost connection, resume with `Last-Event-ID` or `after`.
    """
    after = _last_seen(call.request.headers.get("Last-Event-ID")) or query.after
    async with call.services.database.read() as session:
        operation = await known_operation(session, call.path("id"))
    streams = call.request.app[STREAMS]
    return await send_events(
        call.request,
        call.actor.account_id,
        _follow(call.services, operation.id, after, streams.pause),
    )


def _last_seen(header: str | None) -> str | None:
    if header is not None and (len(header) > _LONGEST_ID or not header.isprintable()):
        raise HttpError(422, "invalid_request", "Last-Event-ID: this is no identifier of a line")
    return header


async def _follow(
    services: Services,
    operation_id: str,
    after: str | None,
    pause: Callable[[float], float],
) -> AsyncIterator[ServerSentEvent | None]:
    last = ""
    while True:
        async with services.database.read() as session:
            # Read the operation first: once it has ended, its log is complete.
            view = await operation_detail(session, await known_operation(session, operation_id))
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
        await asyncio.sleep(pause(services.poll_s))


async def list_incidents(call: Call, query: IncidentQuery) -> Page[IncidentView]:
    """List incidents, newest first."""
    async with call.services.database.read() as session:
        return await incident_page(session, query)


async def close_incident(call: Call) -> IncidentView:
    """Close the circuit breaker's incident.

    All other incidents close by themselves.
    """
    async with call.services.database.write() as session:
        row = await incidents.close_breaker(
            session, call.path("id"), actor=call.actor, now=call.now()
        )
        return await shown_incident(session, row)


async def acknowledge_incident(call: Call) -> IncidentView:
    """Acknowledge an open incident: somebody knows of it."""
    async with call.services.database.write() as session:
        row = await incidents.acknowledge(
            session, call.path("id"), actor=call.actor, now=call.now()
        )
        return await shown_incident(session, row)


async def assign_incident(call: Call, body: NewAssignment) -> IncidentView:
    """Assign an open incident to an operator, or to nobody. This acknowledges it."""
    async with call.services.database.write() as session:
        assignee = None
        if body.account:
            assignee = await find_account(session, body.account)
            assignee = assignee or await known_account(session, body.account)
        row = await incidents.assign(
            session, call.path("id"), assignee, actor=call.actor, now=call.now()
        )
        return await shown_incident(session, row)


async def note_incident(call: Call, body: NewIncidentNote) -> IncidentView:
    """Write a note on an incident. It cannot be changed later."""
    async with call.services.database.write() as session:
        row = await incidents.note(
            session, call.path("id"), body.text, actor=call.actor, now=call.now()
        )
        return await shown_incident(session, row)


async def list_audit(call: Call, query: AuditQuery) -> Page[AuditView]:
    """List the audit trail, newest entry first."""
    async with call.services.database.read() as session:
        return await audit_page(session, query)
