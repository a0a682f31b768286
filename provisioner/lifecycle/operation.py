"""One run of an operation's current step: recorded before and after, guarded by the claim."""

import random
from datetime import datetime, timedelta

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.failures import Failure, FailureKind
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import RAMDISK, OperationState, Step, next_step
from provisioner.domain.retries import PATIENCE, TRIES, backoff
from provisioner.incidents import close_incidents, open_incident
from provisioner.lifecycle.job import Change, Context, Done, GoTo, Job, Outcome, Wait
from provisioner.lifecycle.snapshot import Snapshot
from provisioner.lifecycle.step_log import StepLogWriter
from provisioner.lifecycle.steps import SPECS
from provisioner.store.claims import Claim, hold
from provisioner.store.database import Database
from provisioner.store.tables import Operation, Server, StepRecord


async def run_step(
    database: Database, context: Context, claim: Claim[Server], snapshot: Snapshot
) -> Outcome:
    """Run the step that the operation is at, and write down what came of it.

    A classified failure becomes a :class:`Wait` until the next attempt, or ends the operation.
    Anything else that is raised is a defect and passes through. Raises ClaimLost.
    """
    operation = snapshot.operation
    if operation is None:
        raise LookupError(f"{snapshot.server.name} runs no operation")
    recorder = _Recorder(database, context, claim, operation)
    await recorder.begin()
    async with StepLogWriter(database, operation.id, operation.step, context.clock) as log:
        job = Job(context, snapshot, operation, log, recorder.commit)
        try:
            outcome = await SPECS[operation.step].run(job)
        except Failure as failure:
            log(f"failed: {failure.reason}")
            return await recorder.failed(failure)
    match outcome:
        case Done(detail, change):
            await recorder.moved(next_step(operation.verb, operation.step), "done", detail, change)
        case GoTo(step, detail, change):
            await recorder.moved(step, "skipped" if change is None else "back", detail, change)
        case Wait(_, detail):
            await recorder.waiting(detail)
    return outcome


class _Recorder:
    """Writes the run of one step to the operation and its step record."""

    def __init__(
        self, database: Database, context: Context, claim: Claim[Server], operation: Operation
    ) -> None:
        self._database = database
        self._context = context
        self._claim = claim
        self._operation_id = operation.id
        self._step = operation.step

    async def begin(self) -> None:
        """Open the step's record, unless it is still open from a wait or from before a crash."""

        async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
            if await self._open_record(session) is None:
                session.add(
                    StepRecord(
                        operation_id=operation.id,
                        step=self._step,
                        started_at=self._context.clock(),
                    )
                )

        await self.commit(change)

    async def commit(self, change: Change) -> None:
        async with self._database.write() as session:
            server = await hold(session, self._claim)
            operation = await session.get_one(Operation, self._operation_id)
            await change(session, server, operation)

    async def moved(self, to: Step | None, outcome: str, detail: str, also: Change | None) -> None:
        """The step is over: the operation goes on at `to`, or is done."""

        async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
            now = self._context.clock()
            if also is not None:
                await also(session, server, operation)
            await self._close_record(session, outcome, detail, now)
            operation.state = OperationState.RUNNING
            if self._step not in RAMDISK:
                # Failures that led back to the ramdisk count on, or the way back had no end.
                operation.attempt = 0
            server.reason = server.next_action = ""
            await close_incidents(session, server, IncidentKind.STEP, now=now)
            if to is None:
                operation.state = OperationState.DONE
                operation.ended_at = now
            else:
                operation.step = to
                operation.step_started_at = now

        await self.commit(change)

    async def waiting(self, detail: str) -> None:
        async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
            record = await self._open_record(session)
            if record is not None:
                record.detail = detail

        await self.commit(change)

    async def failed(self, failure: Failure) -> Wait:
        """Try again, park, or give up, by the kind of the failure."""
        wait = Wait(0, failure.reason)

        async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
            nonlocal wait
            now = self._context.clock()
            operation.attempt += 1
            await self._close_record(session, "failed", failure.reason, now)
            server.reason, server.next_action = failure.reason, failure.next_action
            in_ramdisk = SPECS[self._step].in_ramdisk
            exhausted = operation.attempt >= TRIES
            # What an operator has to change is no server's fault, however often it is met.
            given_up = exhausted and in_ramdisk and failure.kind is FailureKind.TRANSIENT
            if failure.kind is FailureKind.SERVER_FAULT or given_up:
                operation.state = OperationState.FAILED
                operation.ended_at = now
                return
            pause = backoff(operation.attempt)
            if exhausted or failure.kind is FailureKind.CONFIGURATION:
                operation.state = OperationState.PARKED
                pause = PATIENCE
                await open_incident(
                    session,
                    server,
                    IncidentKind.STEP,
                    f"{self._step.value}: {failure.reason}",
                    failure.next_action,
                    now=now,
                    operation_id=operation.id,
                )
            elif in_ramdisk and operation.attempt > 1:
                operation.step = Step.FIND_RAMDISK
                operation.step_started_at = now
            wait = Wait(_jittered(pause), failure.reason)

        await self.commit(change)
        return wait

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
        self, session: AsyncSession, outcome: str, detail: str, now: datetime
    ) -> None:
        record = await self._open_record(session)
        if record is not None:
            record.outcome, record.detail, record.ended_at = outcome, detail, now


def _jittered(pause: timedelta) -> float:
    """Up to a quarter longer, so that many servers do not come back at one instant."""
    return pause.total_seconds() * random.uniform(1, 1.25)  # noqa: S311 - no secret
