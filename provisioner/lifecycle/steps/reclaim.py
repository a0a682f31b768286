"""Taking a server back: its lease is closed only when power off was read back."""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.lifecycle.job import Done, Job, Outcome
from provisioner.store.tables import (
    AgentIdentity,
    Lease,
    Operation,
    Reservation,
    ReservationStatus,
    Server,
)

MOVED = "moved"
"""End reason of a lease whose reservation goes on, on another server."""


async def close_lease(job: Job) -> Outcome:
    """The server is off, so nobody has access: the lease ends, its agent's identity with it."""

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        now = job.now()
        server.last_used_at = now
        leases = await session.exec(
            select(Lease).where(Lease.server_id == server.id, col(Lease.ended_at).is_(None))
        )
        for lease in leases:
            lease.ended_at = now
            lease.end_reason = lease.end_reason or "expired"
            lease.host_key_secret = lease.agent_token_secret = ""
            if lease.end_reason != MOVED:
                reservation = await session.get_one(Reservation, lease.reservation_id)
                reservation.status = ReservationStatus.ENDED
        identities = await session.exec(
            select(AgentIdentity).where(
                AgentIdentity.server_id == server.id, col(AgentIdentity.revoked_at).is_(None)
            )
        )
        for identity in identities:
            identity.revoked_at = now

    return Done("access is gone", change)
