"""How a reservation's server is, as its customer sees it: nothing of other tenants, nothing that is
the operators' own.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health.gauges import GAUGES
from provisioner.domain.health.levels import HealthLevel
from provisioner.domain.incidents import IncidentKind
from provisioner.service.views.base import View, seconds_between
from provisioner.store.tables import (
    AgentIdentity,
    HealthSample,
    Incident,
    Lease,
    Outage,
    ServerHealth,
)

SHOWN = timedelta(hours=24)

Values = list[float | None]


class LeaseIncidentView(View):
    summary: str
    opened_at: datetime


class OutageView(View):
    """Time in which the server was not usable; it is not billed."""

    began_at: datetime
    ended_at: datetime | None
    """null while it goes on"""
    seconds: float
    reason: str


class GpuSeriesView(View):
    """One GPU's values at the times in `at`; null where one was not read."""

    index: int
    product: str
    memory_total_mib: float | None
    temperature_c: Values
    power_w: Values
    utilization_percent: Values
    memory_used_mib: Values
    ecc_corrected: Values
    """Since the driver was loaded, as `ecc_uncorrected`."""
    ecc_uncorrected: Values


class LeaseHealthView(View):
    level: HealthLevel | None
    """Now; null unless the server is the customer's and its agent has reported."""
    summary: str
    seen_at: datetime | None
    """When the agent last reported."""
    state: str
    """Of reading the GPUs: ok, starting, absent, hung, failed; empty if the agent never said."""
    at: list[datetime]
    """Times of the series, a few minutes apart, of the last 24 hours."""
    gpus: list[GpuSeriesView]
    incidents: list[LeaseIncidentView]
    """Open ones."""
    outages: list[OutageView]
    """The newest first."""
    not_billed_s: float
    """Sum of the outages."""


async def lease_health_view(
    session: AsyncSession, reservation_id: str, now: datetime
) -> LeaseHealthView:
    """Of the reservation's newest lease; outages are those of all of its leases."""
    found = await session.exec(
        select(Lease)
        .where(Lease.reservation_id == reservation_id)
        .order_by(col(Lease.bound_at), col(Lease.id))
    )
    leases = found.all()
    outages = await _outages(session, leases, now)
    view = LeaseHealthView(
        level=None,
        summary="",
        seen_at=None,
        state="",
        at=[],
        gpus=[],
        incidents=[],
        outages=outages,
        not_billed_s=sum(outage.seconds for outage in outages),
    )
    if not leases:
        return view
    lease = leases[-1]
    view.incidents = (await open_incidents(session, [lease.id])).get(lease.id, [])
    seen_at, health = await _heard(session, lease)
    view.seen_at, view.state = seen_at, str(health.get("state", ""))
    samples = await _samples(session, lease, now)
    view.at = [sample.at for sample in samples]
    view.gpus = _series(samples, health.get("gpus", ()))
    judged = await session.get(ServerHealth, lease.server_id)
    if judged and seen_at and lease.ends_at > now:
        view.level, view.summary = judged.level, judged.summary
    return view


async def open_incidents(
    session: AsyncSession, lease_ids: Sequence[str]
) -> dict[str, list[LeaseIncidentView]]:
    """What disturbs each lease now, in its customer's words."""
    found = await session.exec(
        select(Incident)
        .where(
            col(Incident.lease_id).in_(lease_ids),
            Incident.kind == IncidentKind.HEALTH,
            col(Incident.closed_at).is_(None),
        )
        .order_by(col(Incident.opened_at))
    )
    incidents: dict[str, list[LeaseIncidentView]] = defaultdict(list)
    for row in found.all():
        shown = LeaseIncidentView(summary=row.reason, opened_at=row.opened_at)
        incidents[str(row.lease_id)].append(shown)
    return incidents


async def _outages(
    session: AsyncSession, leases: Sequence[Lease], now: datetime
) -> list[OutageView]:
    found = await session.exec(
        select(Outage)
        .where(col(Outage.lease_id).in_([lease.id for lease in leases]))
        .order_by(col(Outage.began_at).desc())
    )
    return [
        OutageView(
            began_at=row.began_at,
            ended_at=row.ended_at,
            seconds=seconds_between(row.began_at, row.ended_at or now) or 0.0,
            reason=row.reason,
        )
        for row in found.all()
    ]


async def _heard(session: AsyncSession, lease: Lease) -> tuple[datetime | None, dict[str, Any]]:
    """When this lease's own agent last reported, and the health that it told."""
    found = await session.exec(
        select(AgentIdentity)
        .where(AgentIdentity.lease_id == lease.id, col(AgentIdentity.seen_at).is_not(None))
        .order_by(col(AgentIdentity.seen_at).desc())
    )
    agent = found.first()
    return (agent.seen_at, agent.report.get("health") or {}) if agent else (None, {})


async def _samples(session: AsyncSession, lease: Lease, now: datetime) -> Sequence[HealthSample]:
    """Those of the customer's own time: the server's other samples are other tenants'."""
    if lease.ready_at is None:
        return ()
    found = await session.exec(
        select(HealthSample)
        .where(
            HealthSample.server_id == lease.server_id,
            col(HealthSample.at) >= max(lease.ready_at, now - SHOWN),
            col(HealthSample.at) < lease.ends_at,
        )
        .order_by(col(HealthSample.at))
    )
    return found.all()


def _series(
    samples: Sequence[HealthSample], reported: Sequence[dict[str, Any]]
) -> list[GpuSeriesView]:
    """A series for each GPU that was ever seen, of the same length as the samples."""
    by_index = [{gpu["index"]: gpu for gpu in sample.gpus} for sample in samples]
    told = {gpu["index"]: gpu for gpu in reported if "index" in gpu}
    return [
        GpuSeriesView(
            index=index,
            product=told.get(index, {}).get("name", ""),
            memory_total_mib=told.get(index, {}).get("memory_total_mib"),
            **{name: [gpus.get(index, {}).get(name) for gpus in by_index] for name in GAUGES},
        )
        for index in sorted(set(chain(told, *by_index)))
    ]
