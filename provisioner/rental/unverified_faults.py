"""Servers that were quarantined for faults that only an account's own systems had reported.

Nobody can verify such a fault, so an account is believed only for a few servers
(`domain.health.is_believed`).
"""

from datetime import datetime

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.store.tables import Account, Lease, Reservation


async def tenant_of(session: AsyncSession, lease_id: str) -> Account:
    found = await session.exec(
        select(Account)
        .join(Reservation, col(Reservation.account_id) == col(Account.id))
        .join(Lease, col(Lease.reservation_id) == col(Reservation.id))
        .where(Lease.id == lease_id)
    )
    return found.one()


async def unverified_quarantines(session: AsyncSession, lease_id: str) -> tuple[datetime, ...]:
    """Return when each other server of the lease's account was last quarantined like this."""
    lease = await session.get_one(Lease, lease_id)
    tenant = await tenant_of(session, lease_id)
    found = await session.exec(
        select(func.max(Lease.unverified_fault_at))
        .join(Reservation, col(Reservation.id) == col(Lease.reservation_id))
        .where(
            Reservation.account_id == tenant.id,
            Lease.server_id != lease.server_id,
            col(Lease.unverified_fault_at).is_not(None),
        )
        .group_by(col(Lease.server_id))
    )
    return tuple(at for at in found if at is not None)
