"""Runs an operation's current step, recorded before and after and guarded by the claim."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.failures import Failure, FailureKind, defect
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import (
    RAMDISK,
    OperationState,
    RequestOutcome,
    Step,
    StepOutcome,
    next_step,
    outcome_of_jump,
)
from provisioner.domain.retries import PATIENCE, Reaction, backoff, reaction
from provisioner.incidents import close_incidents, open_incident
from provisioner.lifecycle.job import Change, Context, Done, GoTo, Job, Outcome, Wait
from provisioner.lifecycle.requests import end_with_operation
from provisioner.lifecycle.snapshot import Snapshot
from provisioner.lifecycle.step_log import StepLogWriter
from provisioner.lifecycle.steps import SPECS
from provisioner.store.claims import Claim, ClaimLost, hold
from provisioner.store.database import Database, DatabaseUnavailable
from provisioner.store.tables import Operation, Server, StepRecord

log = logging.getLogger(__name__)

_DEFECT = "defect"
"""Memo key for which step raised which unexpected exception, and how often."""


async def run_step(
    database: Database, context: Context, claim: Claim[Server], snapshot: Snapshot
) -> Outcome:
    """Run the operation's current step and record the outcome.

    A failure becomes a :class:`Wait` until the next attempt, or ends the operation. An unexpected
    exception is a failure too (of kind DEFECT). Raises ClaimLost, DatabaseUnavailable.
    """
    operation = snapshot.operation
    if operation is None:
        raise LookupError(f"{snapshot.server.name} runs no operation")
    recorder = _Recorder(database, context, claim, operation)
    await recorder.begin()
    try:
        async with StepLogWriter(database, operation.id, operation.step, context.clock) as lines:
            job = Job(context, snapshot, operation, lines, recorder.commit)
            try:
                with _classified():
                    outcome = await SPECS[operation.step].run(job)
            except Failure as failure:
                lines(f"failed: {failure.reason}")
                raise
        with _classified():
            await recorder.record(outcome)
    except Failure as failure:
        return await recorder.failed(failure)
    return outcome


@contextmanager
def _classified() -> Iterator[None]:
    """Turn any exception that is not a failure, a lost claim or an outage into a defect."""
    try:
        yield
    except (Failure, ClaimLost, DatabaseUnavailable):
        raise
    except Exception as error:
        raise defect(error) from error


class _Recorder:
    """Writes the run of one step to the operation and its step record."""

    def __init__(
        self, database: Database, context: Context, claim: Claim[Server], operation: Operation
    ) -> None:
        self._database = database
        self._context = context
        self._claim = claim
        self._operation_id = operation.id
        self._verb = operation.verb
        self._step = operation.step

    async def begin(self) -> None:
        """Open the step's record, or continue that of a waiting step."""

        async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
            now = self._context.clock()
            record = await self._open_record(session)
            if record is not None and record.outcome is StepOutcome.WAITING:
                record.outcome = StepOutcome.RUNNING
                return
            await self._close_record(session, StepOutcome.INTERRUPTED, "it did not finish", now)
            session.add(StepRecord(operation_id=operation.id, step=self._step, started_at=now))

        await self.commit(change)

    async def commit(self, change: Change) -> None:
        async with self._database.write() as session:
            server = await hold(session, self._claim)
            operation = await session.get_one(Operation, self._operation_id)
            await change(session, server, operation)

    async def record(self, outcome: Outcome) -> None:
        match outcome:
            case Done(detail, change):
                to = next_step(self._verb, self._step)
                await self._moved(to, StepOutcome.DONE, detail, change)
            case GoTo(step, detail, change):
                jump = outcome_of_jump(self._verb, self._step, step)
                await self._moved(step, jump, detail, change)
            case Wait(_, detail):
                await self._waiting(detail)

    async def _moved(
        self, to: Step | None, outcome: StepOutcome, detail: str, also: Change | None
    ) -> None:
        """End the step: the operation continues at `to`, or is done if that is None."""

        async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
            now = self._context.clock()
            if also is not None:
                await also(session, server, operation)
            await self._close_record(session, outcome, detail, now)
            operation.state = OperationState.RUNNING
            if self._step not in RAMDISK:
                # Returning to the ramdisk keeps the count of failures, or it could loop for ever.
                operation.attempt = 0
                operation.memo = {k: v for k, v in operation.memo.items() if k != _DEFECT}
            if operation.request_id is None:
                server.reason = server.next_action = ""
            await close_incidents(session, server, IncidentKind.STEP, now=now)
            if to is None:
                operation.state = OperationState.DONE
                operation.ended_at = now
                await end_with_operation(session, operation, RequestOutcome.DONE, now)
            else:
                operation.step = to
                operation.step_started_at = now

        await self.commit(change)

    async def _waiting(self, detail: str) -> None:
        async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
            record = await self._open_record(session)
            if record is not None:
                record.outcome, record.detail = StepOutcome.WAITING, detail

        await self.commit(change)

    async def failed(self, failure: Failure) -> Wait:
        """Retry, park or give up, depending on the kind of failure."""
        wait = Wait(0, failure.reason)

        async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
            nonlocal wait
            now = self._context.clock()
            operation.attempt += 1
            attempt = operation.attempt
            if failure.kind is FailureKind.DEFECT:
                attempt = self._count_defect(server, operation, failure)
            await self._close_record(session, StepOutcome.FAILED, failure.reason, now)
            requested = operation.request_id is not None
            if not requested:
                # A request must not overwrite why a server is in quarantine, for example.
                server.reason, server.next_action = failure.reason, failure.next_action
            pause = backoff(operation.attempt)
            in_ramdisk = SPECS[self._step].in_ramdisk
            follows = reaction(failure.kind, attempt, in_ramdisk=in_ramdisk, requested=requested)
            if follows is Reaction.PARK or (follows is Reaction.GIVE_UP and requested):
                await open_incident(
                    session,
                    server,
                    IncidentKind.STEP,
                    f"{self._step.value}: {failure.reason}",
                    failure.next_action,
                    now=now,
                    operation_id=operation.id,
                )
            match follows:
                case Reaction.GIVE_UP:
                    operation.state = OperationState.FAILED
                    operation.ended_at = now
                    await end_with_operation(
                        session, operation, RequestOutcome.FAILED, now, failure.reason
                    )
                    return
                case Reaction.PARK:
                    operation.state = OperationState.PARKED
                    pause = PATIENCE
                case Reaction.FIND_RAMDISK:
                    operation.step = Step.FIND_RAMDISK
                    operation.step_started_at = now
            wait = Wait(_jittered(pause), failure.reason)

        await self.commit(change)
        return wait

    def _count_defect(self, server: Server, operation: Operation, failure: Failure) -> int:
        """Count how often this step raised this exception; log its traceback once."""
        error = failure.__cause__
        name = f"{self._step.value} {type(error).__name__}"
        last = operation.memo.get(_DEFECT, {})
        times: int = last["times"] + 1 if last.get("name") == name else 1
        operation.memo = {**operation.memo, _DEFECT: {"name": name, "times": times}}
        if times == 1:
            log.error("%s: %s", server.name, failure.reason, exc_info=error)
        return times

    async def _open_record(self, session: AsyncSession) -> StepRecord | None:
        found = await session.exec(
            select(StepRecord)
            .where(
                StepRecord.operation_id == self._operation_id,
                StepRecord.step == self._step,
                col(StepRecord.ended_at).is_(None),
            )
            .order_by(col(StepRecord.id).desc())
            .limit(1)
        )
        return found.one_or_none()

    async def _close_record(
        self, session: AsyncSession, outcome: StepOutcome, detail: str, now: datetime
    ) -> None:
        record = await self._open_record(session)
        if record is not None:
            record.outcome, record.detail, record.ended_at = outcome, detail, now


def _jittered(pause: timedelta) -> float:
    """Lengthen a pause by up to a quarter, so that servers do not all return at once."""
    return pause.total_seconds() * random.uniform(1, 1.25)  # noqa: S311 - no secret
