"""Reclaims a server: shuts its port, makes sure that it is off, and closes its lease."""

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.incidents import IncidentKind
from provisioner.domain.reservations import LeaseEndReason, ReservationState
from provisioner.domain.webhooks import WebhookEvent
from provisioner.drivers.network import SwitchUnreachable
from provisioner.incidents import open_incident
from provisioner.lifecycle.identities import revoke_identities
from provisioner.lifecycle.job import Change, Done, Job, Outcome
from provisioner.notifications.outbox import enqueue
from provisioner.rental.reservations import lease_on
from provisioner.store.tables import Lease, Operation, Reservation, Server


async def shut_port(job: Job) -> Outcome:
    """Cut the server off the network, which ends access whatever agent and BMC do.

    A switch that fails must not delay the power-off: it opens an incident, and the BMC comes next.
    """
    switch, port = job.drivers.switch, job.server.switch_port
    if switch is None or not port:
        return Done("no switch port is under control")
    try:
        await switch.set_port(port, is_open=False)
        if await switch.port_is_open(port):
            raise SwitchUnreachable(port, "it still reads open after it was shut")
    except SwitchUnreachable as failure:
        job.log(failure.reason)
        return Done(f"not shut: {failure.reason}", _tell(job, failure))
    return Done("the port is shut", _end_lease(job))


def _tell(job: Job, failure: SwitchUnreachable) -> Change:
    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        await open_incident(
            session,
            server,
            IncidentKind.ACCESS,
            failure.reason,
            failure.next_action,
            now=job.now(),
            operation_id=operation.id,
        )

    return change


async def close_lease(job: Job) -> Outcome:
    """Close the lease: the server is off, so nobody has access or writes to its disks."""
    return Done("access is gone", _end_lease(job))


def _end_lease(job: Job) -> Change:
    """End the lease and revoke its agent's identity: the tenant's access is known to be gone."""

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        now = job.now()
        server.last_used_at = now
        lease = await lease_on(session, server.id)
        if lease is not None:
            await _close(session, lease, now)
        await revoke_identities(session, server.id, now=now)

    return change


async def _close(session: AsyncSession, lease: Lease, now: datetime) -> None:
    lease.ended_at = now
    lease.end_reason = lease.end_reason or LeaseEndReason.EXPIRED
    lease.host_key_secret = lease.agent_token_secret = ""
    moved = lease.end_reason is LeaseEndReason.MOVED
    if not moved:
        reservation = await session.get_one(Reservation, lease.reservation_id)
        reservation.state = ReservationState.ENDED
    if not moved or lease.ready_at is not None:
        told = {"ended_at": now.isoformat(), "reason": lease.end_reason}
        await enqueue(session, lease, WebhookEvent.ENDED, now, **told)
