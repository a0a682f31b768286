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


class LeaseIncidentView(View, title="LeaseIncident"):
    """A fault of the leased server that is being dealt with."""

    summary: str
    """What is wrong, in a sentence."""
    opened_at: datetime
    """When the fault was found."""


class OutageView(View, title="Outage"):
    """Time in which the server was not usable. It is not billed."""

    began_at: datetime
    """When the outage began."""
    ended_at: datetime | None
    """When the outage ended. Null while it lasts."""
    seconds: float
    """Length in seconds, up to now while it lasts."""
    reason: str
    """What made the server unusable."""


class GpuSeriesView(View, title="GpuSeries"):
    """Readings of one GPU over time. Each list is as long as `at` and has null wherever nothing
    was read."""

    index: int
    """Number of the GPU in its server."""
    product: str
    """Product name. Empty when unknown."""
    memory_total_mib: float | None
    """Size of the memory in MiB. Null when unknown."""
    temperature_c: Values
    """Temperature in degrees Celsius."""
    power_w: Values
    """Power draw in watts."""
    utilization_percent: Values
    """Share of time in which the GPU was busy, in percent."""
    memory_used_mib: Values
    """Memory in use in MiB."""
    ecc_corrected: Values
    """Corrected memory errors since the driver was loaded."""
    ecc_uncorrected: Values
    """Uncorrected memory errors since the driver was loaded."""


class LeaseHealthView(View, title="LeaseHealth"):
    """How the server of a reservation is."""

    level: HealthLevel | None
    """How well the server is now. Null unless the lease is running and its agent has reported."""
    summary: str
    """The worst finding in a sentence. Empty when nothing is found."""
    seen_at: datetime | None
    """When the server's agent last reported. Null if it never did during this lease."""
    state: str
    """State of reading the GPUs: `ok`, `starting`, `absent`, `hung` or `failed`. Empty if the
    agent never reported it."""
    at: list[datetime]
    """Times of the readings, a few minutes apart, over the last 24 hours."""
    gpus: list[GpuSeriesView]
    """Readings of each GPU."""
    incidents: list[LeaseIncidentView]
    """Open incidents."""
    outages: list[OutageView]
    """Outages of the whole reservation, the newest first."""
    not_billed_s: float
    """Total length of the outages in seconds."""


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
