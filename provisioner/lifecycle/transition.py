"""Carries out one row of the transition table, in the session that holds the claim.

The row lists its effects; this module has one function for each.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import RECONCILER
from provisioner.domain.health import next_action
from provisioner.domain.health.fleet import BELIEVED, BELIEVED_WITHIN
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import (
    RUNS,
    STEPS,
    OperationState,
    RequestVerb,
    State,
    StepOutcome,
)
from provisioner.domain.reservations import LeaseEndReason, ReservationState
from provisioner.domain.transitions import Effect, Transition, failed
from provisioner.incidents import close_incidents, open_incident, open_one
from provisioner.lifecycle.requests import end_with_state
from provisioner.lifecycle.snapshot import Snapshot
from provisioner.rental.leases import set_end
from provisioner.rental.outages import end_outage
from provisioner.rental.reservations import bind_waiting, lease_on
from provisioner.rental.unverified_faults import tenant_of
from provisioner.store import audit
from provisioner.store.tables import (
    BmcReading,
    Lease,
    Operation,
    Reservation,
    Server,
    ServerHealth,
    ServerRequest,
    StepRecord,
)

_OF_ONE_STATE = (IncidentKind.STUCK, IncidentKind.STEP, IncidentKind.ACCESS)
"""Incidents that end when the server leaves its state."""

_KEEPS_REASON = (State.QUARANTINED, State.RECLAIMING)
"""States in which the server keeps the reason why it left the previous one."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the table, applied to one server."""

    session: AsyncSession
    transition: Transition
    server: Server
    snapshot: Snapshot
    """The server before the change."""
    now: datetime


async def carry_out(
    session: AsyncSession,
    transition: Transition,
    server: Server,
    snapshot: Snapshot,
    now: datetime,
) -> None:
    """Change the state and everything that must change with it, or nothing at all.

    The caller takes the lock of the server's class first and then the claim, in the same order as
    binding a reservation does.
    """
    change = Change(session, transition, server, snapshot, now)
    await _end_operation(change)
    await close_incidents(session, server, *_OF_ONE_STATE, now=now)
    server.state = transition.target
    server.state_since = now
    if transition.target is State.RETIRED:
        await close_incidents(session, server, IncidentKind.DOUBT, now=now)
    if transition.target not in _KEEPS_REASON:
        server.reason = server.next_action = ""
    await end_with_state(session, server.id, transition.target, now)
    _start_operation(change)
    for effect in transition.then:
        await EFFECTS[effect](change)
    detail = {
        "from": transition.source.value,
        "because": transition.condition,
        "reason": server.reason,
    }
    audit.record(session, RECONCILER, f"server.{transition.target.value}", server.id, now, **detail)


async def _end_operation(change: Change) -> None:
    """Mark an operation as failed if it is still running when the server leaves its state."""
    if change.snapshot.operation is None:
        return
    operation = await change.session.get_one(Operation, change.snapshot.operation.id)
    if operation.ended_at is None:
        operation.state = OperationState.FAILED
        operation.ended_at = change.now
    await change.session.exec(
        update(StepRecord)
        .where(col(StepRecord.operation_id) == operation.id, col(StepRecord.ended_at).is_(None))
        .values(outcome=StepOutcome.INTERRUPTED, ended_at=change.now)
    )


def _start_operation(change: Change) -> None:
    verb = RUNS.get(change.transition.target)
    if verb is None:
        return
    lease = change.snapshot.lease
    change.session.add(
        Operation(
            server_id=change.server.id,
            lease_id=lease.id if lease else None,
            verb=verb,
            step=STEPS[verb][0],
            step_started_at=change.now,
            started_at=change.now,
        )
    )


async def quarantine(change: Change) -> None:
    """Take the reason from its health, the operator, the step, or the open incident."""
    server, finding, requested = change.server, change.snapshot.fault, change.snapshot.requested
    await close_incidents(change.session, server, IncidentKind.DOUBT, now=change.now)
    if requested is not None and requested.arguments.get("reason"):
        server.reason, server.next_action = requested.arguments["reason"], ""
    if change.transition.for_health and finding is not None:
        server.reason = finding.summary
        server.next_action = next_action(finding, server.name)
        if finding.by_tenant:
            lease = await change.session.get_one(Lease, finding.lease_id)
            lease.unverified_fault_at = change.now
    fault = await open_one(change.session, server, IncidentKind.FAULT)
    if fault is not None and not server.reason:
        server.reason, server.next_action = fault.reason, fault.next_action
    if change.transition.when is not failed and not server.reason:
        server.reason = "an operator quarantined it"
    if not server.next_action:
        server.next_action = f"find the cause; then: rackctl server repaired {server.name}"
    if fault is None or fault.reason != server.reason:
        await _open_fault(change)


async def doubt(change: Change) -> None:
    """Drop what only the tenant reported, and let our ramdisk judge. An operator may know
    better."""
    server, finding = change.server, change.snapshot.fault
    if finding is None:
        raise AssertionError(f"{server.name} has no fault to doubt")
    tenant = await tenant_of(change.session, finding.lease_id)
    await open_incident(
        change.session,
        server,
        IncidentKind.DOUBT,
        f"only the system of a tenant ({tenant.email}) reported a fault that cannot be verified: "
        f"{finding.summary}. {BELIEVED} other servers of the account were quarantined for such "
        f"reports within {BELIEVED_WITHIN.days} days, so this one is wiped, validated and offered "
        "again",
        f"look for the fault; to keep it out of the pool: rackctl server quarantine {server.name} "
        "--reason faulty",
        now=change.now,
    )
    await change.session.exec(delete(ServerHealth).where(col(ServerHealth.server_id) == server.id))


async def quarantine_afterwards(change: Change) -> None:
    """Request quarantine, to follow once it is powered off and its lease is closed. Until then
    the incident keeps the reason, as the steps of reclaiming overwrite the server's."""
    change.session.add(
        ServerRequest(
            server_id=change.server.id,
            verb=RequestVerb.QUARANTINE,
            actor=RECONCILER.name,
            filed_at=change.now,
        )
    )
    await _open_fault(change)


async def _open_fault(change: Change) -> None:
    server, operation = change.server, change.snapshot.operation
    await open_incident(
        change.session,
        server,
        IncidentKind.FAULT,
        server.reason or change.transition.condition,
        server.next_action,
        now=change.now,
        operation_id=operation.id if operation else None,
    )


async def move_lease(change: Change) -> None:
    """End a lease that was never handed over: its reservation waits for another server."""
    lease = await lease_on(change.session, change.server.id)
    if lease is None or lease.ready_at is not None or lease.ends_at <= change.now:
        return
    reservation = await change.session.get_one(Reservation, lease.reservation_id)
    reservation.state = ReservationState.WAITING
    set_end(lease, change.now, change.now)
    lease.end_reason = LeaseEndReason.MOVED
    if change.transition.source is State.AVAILABLE:
        # The tenant's system was never on it, so there is no access to revoke.
        lease.ended_at = change.now


async def end_leases_troubles(change: Change) -> None:
    lease = change.snapshot.lease
    if lease is not None:
        await end_outage(change.session, lease.id, lease.ends_at)
    if change.snapshot.fault is None:
        # Another tenancy without the fault that was doubted
        await close_incidents(change.session, change.server, IncidentKind.DOUBT, now=change.now)
    await close_incidents(
        change.session, change.server, IncidentKind.HEALTH, IncidentKind.SILENT, now=change.now
    )


async def begin_anew(change: Change) -> None:
    """Drop findings from before the repair. The disks count as used: the repair may have written
    to them."""
    session, server = change.session, change.server
    await close_incidents(session, server, IncidentKind.FAULT, now=change.now)
    await session.exec(delete(ServerHealth).where(col(ServerHealth.server_id) == server.id))
    await session.exec(delete(BmcReading).where(col(BmcReading.server_id) == server.id))
    server.last_used_at = change.now


async def spend_certificates(change: Change) -> None:
    snapshot = change.snapshot
    if snapshot.lease is None or not snapshot.sanitised:
        raise AssertionError(f"{change.server.name} must not be imaged: {snapshot.certificates}")
    lease = await change.session.get_one(Lease, snapshot.lease.id)
    lease.certificates = [certificate.id for certificate in snapshot.certificates.values()]
    change.server.last_used_at = change.now


async def bind_reservations(change: Change) -> None:
    await change.session.flush()
    await bind_waiting(change.session, change.server.class_name, change.now)


EFFECTS: dict[Effect, Callable[[Change], Awaitable[None]]] = {
    Effect.QUARANTINE: quarantine,
    Effect.QUARANTINE_AFTERWARDS: quarantine_afterwards,
    Effect.MOVE_LEASE: move_lease,
    Effect.END_LEASES_TROUBLES: end_leases_troubles,
    Effect.DOUBT: doubt,
    Effect.BEGIN_ANEW: begin_anew,
    Effect.SPEND_CERTIFICATES: spend_certificates,
    Effect.BIND_WAITING: bind_reservations,
}
"""The function that applies each effect."""
