"""Operations with their steps and logs, and incidents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field
from sqlalchemy import ColumnElement
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import OperationState, Step, StepOutcome, Verb
from provisioner.domain.refusals import Refusal, RefusalKind
from provisioner.fleet.servers import server_named
from provisioner.service.views.base import (
    MatchQuery,
    Page,
    PageQuery,
    View,
    begins,
    page,
    seconds_between,
)
from provisioner.service.views.incident_marks import IncidentMarks, IncidentNoteView, marks_of
from provisioner.store.tables import Incident, Operation, Server, StepLog, StepRecord


class StepView(View, title="StepAttempt"):
    """One attempt at a step of an operation."""

    step: Step
    """The step."""
    started_at: datetime
    """When the attempt began."""
    ended_at: datetime | None
    """When the attempt ended. Null while it runs."""
    seconds: float | None
    """Duration in seconds. Null while it runs."""
    outcome: StepOutcome
    """Outcome of the attempt. `skipped`: the operation jumped ahead. `back`: it returned to an
    earlier step. `interrupted`: the attempt did not finish."""
    detail: str
    """What the attempt found or why it failed. May be empty."""


class OperationView(View, title="Operation"):
    """Work on a server: a sequence of steps."""

    id: str
    """Identifier of the operation."""
    server: str
    """Name of the server."""
    verb: Verb
    """What the operation does."""
    state: OperationState
    """Whether it is running, waiting or over."""
    step: Step
    """The current step, or the last one once the operation has ended."""
    step_started_at: datetime
    """When the current step began."""
    attempt: int
    """How often the current step has failed so far."""
    boots: int
    """Power cycles that the operation has used so far."""
    started_at: datetime
    """When the operation began."""
    ended_at: datetime | None
    """When the operation ended. Null while it runs."""


class OperationDetail(OperationView, title="OperationDetail"):
    """An operation with every attempt at its steps."""

    steps: list[StepView]
    """Attempts in the order in which they were made."""


class LogView(View, title="LogLine"):
    """One line of an operation's log."""

    id: str
    """Identifier of the line, for `after` and `Last-Event-ID`."""
    at: datetime
    """When the line was written."""
    step: Step
    """The step that wrote the line."""
    text: str
    """The line."""


class IncidentView(View, title="Incident"):
    """A failure that stays open until it is over or closed."""

    id: str
    """Identifier of the incident."""
    server: str | None
    """Name of the server. Null if the incident concerns no single server."""
    reservation: str | None
    """Identifier of the reservation that is waiting for a server. Null if there is none."""
    operation: str | None
    """Identifier of the operation that failed. Null if there is none."""
    kind: IncidentKind
    """What kind of failure it is."""
    reason: str
    """What happened."""
    next_action: str
    """What to do about it. Empty if nothing needs to be done."""
    opened_at: datetime
    """When the incident was opened."""
    closed_at: datetime | None
    """When the incident was closed. Null while it is open."""
    acknowledged_at: datetime | None
    """When an operator acknowledged it. Null until then."""
    acknowledged_by: str | None
    """Name of who acknowledged it. Null until then."""
    assignee: str | None
    """Name of the operator who works on it. Null if it is nobody's."""
    notes: list[IncidentNoteView]
    """What operators noted on it, oldest first."""
    runbook: str
    """Path of the page that says what to do about incidents of this kind."""


class OperationQuery(MatchQuery):
    server: str | None = None
    """Only operations of the server with this name."""


class LogQuery(PageQuery):
    after: str | None = Field(default=None, max_length=200)
    """Only lines after the one with this identifier."""


class IncidentQuery(MatchQuery):
    open: bool | None = None
    """True for open incidents only, false for closed ones only."""
    kind: IncidentKind | None = None
    """Only incidents of this kind."""
    server: str | None = Field(default=None, max_length=253)
    """Only incidents of the server with this name."""
    acknowledged: bool | None = None
    """True for acknowledged incidents only, false for others only."""
    assignee: str | None = Field(default=None, max_length=200)
    """Only incidents of the operator with this identifier."""


async def known_operation(session: AsyncSession, operation_id: str) -> Operation:
    """Raises :class:`Refusal` (unknown_operation)."""
    row = await session.get(Operation, operation_id)
    if row is None:
        raise Refusal(RefusalKind.NOT_FOUND, "unknown_operation", f"no operation {operation_id!r}")
    return row


async def operation_page(session: AsyncSession, query: OperationQuery) -> Page[OperationView]:
    """The newest first."""
    statement = (
        select(Operation, Server.name)
        .join(Server, col(Server.id) == col(Operation.server_id))
        .order_by(col(Operation.id).desc())
        .limit(query.fetch)
    )
    if query.server is not None:
        server = await server_named(session, query.server)
        statement = statement.where(Operation.server_id == server.id)
    if query.match is not None:
        statement = statement.where(_is(Operation.id, query.match))
    if query.cursor is not None:
        statement = statement.where(col(Operation.id) < query.cursor)
    rows = (await session.exec(statement)).all()
    shown, following = page(query, rows, lambda row: row[0].id)
    return Page(items=[operation_view(row, name) for row, name in shown], next=following)


def _is(identifier: Any, match: str) -> ColumnElement[bool]:
    """Whether it is meant: by the beginning of its identifier, or the name of its server."""
    return or_(begins(identifier, match), col(Server.name) == match)


async def operations_of(session: AsyncSession, server: Server, limit: int) -> Sequence[Operation]:
    """Return a server's last operations, newest first."""
    found = await session.exec(
        select(Operation)
        .where(Operation.server_id == server.id)
        .order_by(col(Operation.id).desc())
        .limit(limit)
    )
    return found.all()


async def incident_page(session: AsyncSession, query: IncidentQuery) -> Page[IncidentView]:
    """The newest first."""
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
    if query.kind is not None:
        statement = statement.where(Incident.kind == query.kind)
    if query.server is not None:
        statement = statement.where(Server.name == query.server)
    if query.acknowledged is not None:
        unread = col(Incident.acknowledged_at).is_(None)
        statement = statement.where(~unread if query.acknowledged else unread)
    if query.assignee is not None:
        statement = statement.where(Incident.assignee_id == query.assignee)
    if query.match is not None:
        statement = statement.where(_is(Incident.id, query.match))
    if query.cursor is not None:
        statement = statement.where(col(Incident.id) < query.cursor)
    rows = (await session.exec(statement)).all()
    shown, following = page(query, rows, lambda row: row[0].id)
    marks = await marks_of(session, [row for row, _ in shown])
    return Page(items=[incident_view(row, name, marks) for row, name in shown], next=following)


async def shown_incident(session: AsyncSession, row: Incident) -> IncidentView:
    """Return the view of an incident that was changed in this session."""
    server = await session.get(Server, row.server_id) if row.server_id else None
    return incident_view(row, server.name if server else None, await marks_of(session, [row]))


def operation_view(row: Operation, server_name: str) -> OperationView:
    return OperationView(**_fields(row, server_name))


def _fields(row: Operation, server_name: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "server": server_name,
        "verb": row.verb,
        "state": row.state,
        "step": row.step,
        "step_started_at": row.step_started_at,
        "attempt": row.attempt,
        "boots": row.boots,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
    }


async def operation_detail(session: AsyncSession, row: Operation) -> OperationDetail:
    server = await session.get_one(Server, row.server_id)
    records = await session.exec(
        select(StepRecord)
        .where(StepRecord.operation_id == row.id)
        .order_by(col(StepRecord.started_at), col(StepRecord.id))
    )
    steps = [
        StepView(
            step=record.step,
            started_at=record.started_at,
            ended_at=record.ended_at,
            seconds=seconds_between(record.started_at, record.ended_at),
            outcome=record.outcome,
            detail=record.detail,
        )
        for record in records.all()
    ]
    return OperationDetail(**_fields(row, server.name), steps=steps)


async def log_after(
    session: AsyncSession, operation_id: str, after: str | None, limit: int
) -> Sequence[StepLog]:
    """Return the lines of an operation's log after the line `after`, in order."""
    statement = (
        select(StepLog)
        .where(StepLog.operation_id == operation_id)
        .order_by(col(StepLog.id))
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(col(StepLog.id) > after)
    return (await session.exec(statement)).all()


async def log_tail(session: AsyncSession, operation_id: str, lines: int) -> Sequence[StepLog]:
    """Return the last lines of an operation's log, in order."""
    newest = await session.exec(
        select(StepLog)
        .where(StepLog.operation_id == operation_id)
        .order_by(col(StepLog.id).desc())
        .limit(lines)
    )
    return newest.all()[::-1]


def log_view(row: StepLog) -> LogView:
    return LogView.model_validate(row, from_attributes=True)


def incident_view(row: Incident, server_name: str | None, marks: IncidentMarks) -> IncidentView:
    return IncidentView(
        id=row.id,
        server=server_name,
        reservation=row.reservation_id,
        operation=row.operation_id,
        kind=row.kind,
        reason=row.reason,
        next_action=row.next_action,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=marks.names[row.acknowledged_by] if row.acknowledged_at else None,
        assignee=marks.names[row.assignee_id] if row.assignee_id else None,
        notes=marks.notes.get(row.id, []),
        runbook=f"/docs/runbook#{row.kind.value}",
    )
