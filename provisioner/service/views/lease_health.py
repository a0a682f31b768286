"""The health of a reservation's server as its customer sees it, without anything that concerns
other tenants or operators only.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.hardware import expected_gpus, missing_gpus
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
    Server,
    ServerHealth,
)

SHOWN = timedelta(hours=24)

Values = list[float | None]


class LeaseIncidentView(View, title="LeaseIncident"):
    """An open fault of the leased server."""

    summary: str
    """What is wrong, in a sentence."""
    opened_at: datetime
    """When the fault was found."""


class OutageView(View, title="Outage"):
    """Time during which the server was unusable. It is not billed."""

    began_at: datetime
    """When the outage began."""
    ended_at: datetime | None
    """When the outage ended. Null while it lasts."""
    seconds: float
    """Duration in seconds, so far if it is ongoing."""
    reason: str
    """What made the server unusable."""


class GpuSeriesView(View, title="GpuSeries"):
    """Readings of one GPU over time. Each list is as long as `at`, with null where nothing was
    read."""

    index: int
    """Number of the GPU in its server."""
    product: str
    """Product name. Empty if unknown."""
    lost: bool
    """Whether the GPU has fallen off the bus, or the server should have it and it is missing."""
    memory_total_mib: float | None
    """Size of the memory in MiB. Null if unknown."""
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
    """The health of a reservation's server."""

    level: HealthLevel | None
    """Current health. Null unless the lease is running and its agent has reported, and null while
    nothing is found but the GPUs are not read."""
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
    """Outages of the whole reservation, newest first."""
    not_billed_s: float
    """Total duration of the outages in seconds."""


async def lease_health_view(
    session: AsyncSession, reservation_id: str, now: datetime
) -> LeaseHealthView:
    """Return the health of the reservation's newest lease, with the outages of all its leases."""
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
    server = await session.get_one(Server, lease.server_id)
    view.gpus = _series(samples, _reported_gpus(server, health))
    judged = await session.get(ServerHealth, lease.server_id)
    running = seen_at is not None and lease.ends_at > now
    if judged and running and (judged.level.rank or _is_read(server, view.state)):
        view.level, view.summary = judged.level, judged.summary
    return view


def _is_read(server: Server, state: str) -> bool:
    """Whether an agent in this state has read what it should: no GPUs, if there are none."""
    return state == "ok" or (state == "absent" and not expected_gpus(server.expect))


def _reported_gpus(server: Server, health: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the GPUs of a report, with those that are missing in it as lost."""
    reported = [gpu for gpu in health.get("gpus", ()) if "index" in gpu]
    if health.get("state") != "ok":
        return reported
    missing = missing_gpus(server.expect, server.facts, reported)
    return reported + [{"index": gpu.number, "lost": True} for gpu in missing]


async def open_incidents(
    session: AsyncSession, lease_ids: Sequence[str]
) -> dict[str, list[LeaseIncidentView]]:
    """Return the open incidents that affect each lease, in words for its customer."""
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
    """Return when this lease's own agent last reported, and its health data."""
    found = await session.exec(
        select(AgentIdentity)
        .where(AgentIdentity.lease_id == lease.id, col(AgentIdentity.seen_at).is_not(None))
        .order_by(col(AgentIdentity.seen_at).desc())
    )
    agent = found.first()
    return (agent.seen_at, agent.report.get("health") or {}) if agent else (None, {})


async def _samples(session: AsyncSession, lease: Lease, now: datetime) -> Sequence[HealthSample]:
    """Return samples from the customer's own time: the server's others are other tenants'."""
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
    """Return a series, as long as the samples, for each GPU that was ever seen."""
    by_index = [{gpu["index"]: gpu for gpu in sample.gpus} for sample in samples]
    newest = {gpu["index"]: gpu for gpu in reported}
    return [
        GpuSeriesView(
            index=index,
            product=newest.get(index, {}).get("name", ""),
            lost=bool(newest.get(index, {}).get("lost", False)),
            memory_total_mib=newest.get(index, {}).get("memory_total_mib"),
            **{name: [gpus.get(index, {}).get(name) for gpus in by_index] for name in GAUGES},
        )
        for index in sorted(set(chain(newest, *by_index)))
    ]
