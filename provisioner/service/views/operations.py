"""Operations with their steps and logs, incidents, and the audit trail."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.lifecycle import OperationState, Step, Verb
from provisioner.service.views.base import View, seconds_between
from provisioner.store.tables import AuditEvent, Incident, Operation, Server, StepLog, StepRecord


class StepView(View):
    step: Step
    started_at: datetime
    ended_at: datetime | None
    seconds: float | None
    outcome: str
    detail: str


class OperationView(View):
    id: str
    server: str
    verb: Verb
    state: OperationState
    step: Step
    step_started_at: datetime
    attempt: int
    """Failures of the current step so far."""
    boots: int
    """Power cycles spent."""
    started_at: datetime
    ended_at: datetime | None


class OperationDetail(OperationView):
    steps: list[StepView]


class LogView(View):
    id: str
    at: datetime
    step: Step
    text: str


class IncidentView(View):
    id: str
    server: str | None
    """null where it is about many servers"""
    operation: str | None
    kind: str
    reason: str
    next_action: str
    opened_at: datetime
    closed_at: datetime | None


class AuditView(View):
    id: str
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


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
    """Lines of an operation's log in order, those after the line `after` only."""
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
    """The last lines of an operation's log, in order."""
    newest = await session.exec(
        select(StepLog)
        .where(StepLog.operation_id == operation_id)
        .order_by(col(StepLog.id).desc())
        .limit(lines)
    )
    return newest.all()[::-1]


def log_view(row: StepLog) -> LogView:
    return LogView.model_validate(row, from_attributes=True)


def incident_view(row: Incident, server_name: str | None) -> IncidentView:
    return IncidentView(
        id=row.id,
        server=server_name,
        operation=row.operation_id,
        kind=row.kind,
        reason=row.reason,
        next_action=row.next_action,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
    )


def audit_view(row: AuditEvent) -> AuditView:
    return AuditView.model_validate(row, from_attributes=True)
