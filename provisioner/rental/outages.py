"""Outages: the intervals of a lease in which its server was unusable.

The lifecycle decides what counts as an outage; billing decides what it costs.
"""

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.store.tables import Lease, Outage


async def begin_outage(
    session: AsyncSession, lease: Lease, since: datetime, reason: str, now: datetime
) -> None:
    """Record that the server has been unusable since then.

    The outage starts no earlier than the handover or the end of the previous outage. Does nothing
    if one is already open.
    """
    past = await outages_of(session, lease.id)
    ended = [outage.ended_at for outage in past if outage.ended_at is not None]
    if len(ended) < len(past):
        return
    earliest = max([*ended, lease.ready_at or now])
    session.add(Outage(lease_id=lease.id, began_at=min(now, max(since, earliest)), reason=reason))


async def end_outage(session: AsyncSession, lease_id: str, at: datetime) -> None:
    """End the open outage, if any: the server is usable again, or the lease is over."""
    found = await session.exec(
        select(Outage).where(Outage.lease_id == lease_id, col(Outage.ended_at).is_(None))
    )
    outage = found.one_or_none()
    if outage is not None:
        outage.ended_at = max(outage.began_at, at)


async def outages_of(session: AsyncSession, lease_id: str) -> list[Outage]:
    """Return the outages in the order in which they began."""
    found = await session.exec(
        select(Outage).where(Outage.lease_id == lease_id).order_by(col(Outage.began_at))
    )
    return list(found.all())
