"""The circuit breaker: when many servers turn faulty at once, the cause lies elsewhere.

Its state is one open incident, so it outlives any process. Only a person closes it.
"""

from collections import Counter
from datetime import datetime

from sqlalchemy import func, or_
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health import BY_A_PERSON, HealthLevel, breaker_trips
from provisioner.domain.health.fleet import BREAKER_WINDOW
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import State
from provisioner.incidents import breaker_is_open, breaker_last_closed
from provisioner.store.tables import Incident, Lease, Reservation, Server, ServerHealth

UNFIT = or_(
    col(ServerHealth.level) == HealthLevel.FAULTY,
    col(ServerHealth.action).in_(BY_A_PERSON),
)
"""Verdicts that take a server out of capacity."""


async def holds_back(session: AsyncSession, now: datetime) -> bool:
    """Return whether the breaker is open; open it first if too many servers turned faulty."""
    if await breaker_is_open(session):
        return True
    # Faults from before a person last closed the breaker do not open it again.
    closed_at = await breaker_last_closed(session)
    since = max(now - BREAKER_WINDOW, closed_at or now - BREAKER_WINDOW)
    turned = await _turned_unfit(session, since)
    total = (await session.exec(select(func.count()).where(Server.state != State.RETIRED))).one()
    if not breaker_trips([at for at, _ in turned], total, now):
        return False
    await _open(session, [rule for _, rule in turned], total, now)
    return True


async def _turned_unfit(session: AsyncSession, since: datetime) -> list[tuple[datetime, str]]:
    """Return when servers that could be quarantined turned unfit since then, and by which rule.

    Each account counts once, with its newest fault, however many servers it leases: a tenant can
    forge reports. A former tenant's server counts from the end of the lease, and for itself once
    our ramdisk or the BMC has found the fault.
    """
    found = await session.exec(
        select(ServerHealth, Lease, Reservation.account_id)
        .join(Server, col(Server.id) == col(ServerHealth.server_id))
        .outerjoin(
            Lease,
            (col(Lease.server_id) == col(ServerHealth.server_id))
            & or_(col(Lease.ended_at).is_(None), col(Lease.ended_at) > since),
        )
        .outerjoin(Reservation, col(Reservation.id) == col(Lease.reservation_id))
        .where(UNFIT, Server.state != State.RETIRED)
        .order_by(col(ServerHealth.level_since), col(Lease.bound_at))
    )
    turned: dict[str, tuple[datetime, str]] = {}
    for health, lease, account in found.all():
        rule, by_tenant = _worst(health)
        if lease is None or (lease.ended_at is None and lease.ready_at is None):
            turned[health.server_id] = health.level_since, rule
        elif lease.ended_at is None or by_tenant:
            turned.pop(health.server_id, None)
            fault = max(health.level_since, lease.ended_at or since), rule
            turned[account] = max(turned.get(account, fault), fault)
        else:
            turned[health.server_id] = max(health.level_since, lease.ended_at), rule
    return [(at, rule) for at, rule in turned.values() if at > since]


def _worst(health: ServerHealth) -> tuple[str, bool]:
    """Return the rule of the worst finding, and whether only a tenant has reported it. A verdict of
    another version keeps no other from being counted."""
    match health.verdict:
        case {"findings": [{"rule": str(rule), **finding}, *_]}:
            return rule, bool(finding.get("lease_id"))
    return "unknown", False


async def _open(session: AsyncSession, rules: list[str], total: int, now: datetime) -> None:
    incident = Incident(kind=IncidentKind.BREAKER, reason="", next_action="", opened_at=now)
    (common, times), *_ = Counter(rules).most_common(1)
    minutes = BREAKER_WINDOW.total_seconds() // 60
    incident.reason = (
        f"{len(rules)} of {total} servers turned faulty within {minutes:.0f} minutes, "
        f"{times} of them by the rule {common}: "
        "servers are no longer quarantined for their health"
    )
    incident.next_action = (
        "look for what they have in common (a driver, a switch, power, cooling, the rule); "
        f"then: rackctl incident close {incident.id}"
    )
    try:
        async with session.begin_nested():
            session.add(incident)
    except IntegrityError:
        # Another process opened it at the same time.
        return
