"""Carrying out one row of the transition table, in the session that holds the claim."""

from datetime import datetime

from sqlalchemy import delete, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import RECONCILER
from provisioner.domain.health import next_action
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import (
    REACHED,
    RUNS,
    STEPS,
    Intent,
    OperationState,
    State,
    StepOutcome,
    Transition,
    closed_and_faulty,
    failed,
    faulty,
)
from provisioner.domain.reservations import LeaseEndReason, ReservationState
from provisioner.incidents import (
    close_incidents,
    open_incident,
    open_one,
)
from provisioner.lifecycle.snapshot import Snapshot
from provisioner.rental.leases import set_end
from provisioner.rental.outages import end_outage
from provisioner.rental.reservations import bind_waiting, lease_on
from provisioner.store import audit
from provisioner.store.tables import (
    BmcReading,
    Lease,
    Operation,
    Reservation,
    Server,
    ServerHealth,
    StepRecord,
)

FOR_HEALTH = (faulty, closed_and_faulty)
"""Conditions of the rows that the circuit breaker stops."""

_OF_ONE_STATE = (IncidentKind.STUCK, IncidentKind.STEP, IncidentKind.ACCESS)
"""Incidents that are over when the state is left."""


async def carry_out(
    session: AsyncSession,
    transition: Transition,
    server: Server,
    snapshot: Snapshot,
    now: datetime,
) -> None:
    """Change the state and everything that must change with it, or nothing at all.

    The caller holds the lock of the server's class and then the claim, in this order: binding a
    reservation takes them in the same one.
    """
    await _end_operation(session, snapshot, now)
    if transition.target is State.QUARANTINED:
        await _enter_quarantine(session, transition, server, snapshot, now)
    elif transition.source is State.IMAGING and transition.when is failed:
        # Out of the pool, but only after it was powered off and its lease closed. Until then the
        # incident keeps the reason: the steps of taking it back have reasons of their own.
        server.intent = Intent.QUARANTINE
        await _open_fault(session, transition, server, snapshot, now)
        await _move_lease(session, server, now)
    elif transition.source is State.IMAGING and transition.when is faulty:
        # Whether it is still at fault after the power cycle is asked again when it is taken back.
        await _move_lease(session, server, now)
    elif transition.source is State.LEASED and snapshot.lease is not None:
        await end_outage(session, snapshot.lease.id, snapshot.lease.ends_at)
        await close_incidents(session, server, IncidentKind.HEALTH, IncidentKind.SILENT, now=now)
    elif transition.source is State.QUARANTINED and transition.target is not State.RETIRED:
        await close_incidents(session, server, IncidentKind.FAULT, now=now)
        # Judged anew: what was found before the repair, and cannot be read now, is over.
        await session.exec(delete(ServerHealth).where(col(ServerHealth.server_id) == server.id))
        await session.exec(delete(BmcReading).where(col(BmcReading.server_id) == server.id))
        # Whoever repaired it may have written to its disks.
        server.last_used_at = now
    if transition.target is State.IMAGING:
        await _begin_tenancy(session, server, snapshot, now)
    if transition.target in REACHED.get(server.intent, ()):
        server.intent = Intent.NONE
    await close_incidents(session, server, *_OF_ONE_STATE, now=now)

    server.state = transition.target
    server.state_since = now
    if transition.target not in (State.QUARANTINED, State.RECLAIMING):
        server.reason = server.next_action = ""
    verb = RUNS.get(transition.target)
    if verb is not None:
        session.add(
            Operation(
                server_id=server.id,
                lease_id=snapshot.lease.id if snapshot.lease else None,
                verb=verb,
                step=STEPS[verb][0],
                step_started_at=now,
                started_at=now,
            )
        )
    detail = {
        "from": transition.source.value,
        "because": transition.condition,
        "reason": server.reason,
    }
    audit.record(session, RECONCILER, f"server.{transition.target.value}", server.id, now, **detail)
    await session.flush()
    freed = State.AVAILABLE in (transition.source, transition.target)
    if freed or transition.when in (failed, faulty):
        await bind_waiting(session, server.class_name, now)


async def _end_operation(session: AsyncSession, snapshot: Snapshot, now: datetime) -> None:
    """An operation that is still running when its state is left did not finish."""
    if snapshot.operation is None:
        return
    operation = await session.get_one(Operation, snapshot.operation.id)
    if operation.ended_at is None:
        operation.state = OperationState.FAILED
        operation.ended_at = now
    await session.exec(
        update(StepRecord)
        .where(col(StepRecord.operation_id) == operation.id, col(StepRecord.ended_at).is_(None))
        .values(outcome=StepOutcome.INTERRUPTED, ended_at=now)
    )


async def _enter_quarantine(
    session: AsyncSession,
    transition: Transition,
    server: Server,
    snapshot: Snapshot,
    now: datetime,
) -> None:
    if transition.when in FOR_HEALTH and snapshot.fault is not None:
        server.reason = snapshot.fault.summary
        server.next_action = next_action(snapshot.fault, server.name)
    fault = await open_one(session, server, IncidentKind.FAULT)
    if fault is not None and not server.reason:
        server.reason, server.next_action = fault.reason, fault.next_action
    if transition.when is not failed and not server.reason:
        server.reason = "an operator quarantined it"
    if not server.next_action:
        server.next_action = f"find the cause; then: rackctl server repaired {server.name}"
    await _move_lease(session, server, now)
    if fault is None or fault.reason != server.reason:
        await _open_fault(session, transition, server, snapshot, now)


async def _open_fault(
    session: AsyncSession,
    transition: Transition,
    server: Server,
    snapshot: Snapshot,
    now: datetime,
) -> None:
    await open_incident(
        session,
        server,
        IncidentKind.FAULT,
        server.reason or transition.condition,
        server.next_action,
        now=now,
        operation_id=snapshot.operation.id if snapshot.operation else None,
    )


async def _move_lease(session: AsyncSession, server: Server, now: datetime) -> None:
    """A lease that was never handed over goes on elsewhere: its reservation waits again."""
    lease = await lease_on(session, server.id)
    if lease is None or lease.ready_at is not None or lease.ends_at <= now:
        return
    reservation = await session.get_one(Reservation, lease.reservation_id)
    reservation.state = ReservationState.WAITING
    set_end(lease, now, now)
    lease.end_reason = LeaseEndReason.MOVED
    if server.state is State.AVAILABLE:
        # Nothing of the tenant's was ever on it: there is no access to take away.
        lease.ended_at = now


async def _begin_tenancy(
    session: AsyncSession, server: Server, snapshot: Snapshot, now: datetime
) -> None:
    """From here on the certificates are spent: the disks count as used again."""
    lease = snapshot.lease
    if lease is None or not snapshot.sanitised:
        raise AssertionError(f"{server.name} must not be imaged: {snapshot.facts(now, now)}")
    row = await session.get_one(Lease, lease.id)
    row.certificates = [certificate.id for certificate in snapshot.certificates.values()]
    server.last_used_at = now
