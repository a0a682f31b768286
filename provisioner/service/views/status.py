"""The status of the service: version, database, background work, servers and incidents."""

import time
from datetime import datetime
from importlib.metadata import version

from sqlmodel import col, func, select

from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import State
from provisioner.loops import LoopStatus
from provisioner.service.context import Services
from provisioner.service.views.base import View
from provisioner.store.tables import Incident, Server


class LoopView(View, title="LoopStatus"):
    """Status of one background loop."""

    name: str
    """Name of the loop."""
    period_s: float
    """The longest pause between two turns, in seconds."""
    turns: int
    """Turns that have ended since the start."""
    failures: int
    """Failures since the start, of turns and of work on single rows."""
    failing: bool
    """Whether the last turn failed."""
    turned_at: datetime | None
    """When the last turn began. Null before the first."""
    took_s: float | None
    """How long the last turn took, in seconds. Null before the first has ended."""
    error: str
    """The last error, even if it has passed. Empty if there was none."""
    error_at: datetime | None
    """When the last error occurred. Null if there was none."""


class StatusView(View, title="ServiceStatus"):
    """Status of the service."""

    version: str
    """Version of the service."""
    now: datetime
    """Current time by the service's clock."""
    database: str
    """Kind of database: `sqlite` or `postgresql`."""
    database_s: float
    """How long the database took to answer, in seconds. If it is down, this request fails."""
    servers: dict[State, int]
    """Servers by state. States without servers are left out."""
    incidents: dict[IncidentKind, int]
    """Open incidents by kind. Kinds without one are left out."""
    loops: list[LoopView]
    """Background loops of this process."""


async def status_view(services: Services) -> StatusView:
    began = time.monotonic()
    async with services.database.read() as session:
        servers = await session.exec(select(Server.state, func.count()).group_by(col(Server.state)))
        incidents = await session.exec(
            select(Incident.kind, func.count())
            .where(col(Incident.closed_at).is_(None))
            .group_by(col(Incident.kind))
        )
    return StatusView(
        version=version("ironlease"),
        now=services.clock(),
        database="sqlite" if services.database.is_sqlite else "postgresql",
        database_s=round(time.monotonic() - began, 4),
        servers={State(state): count for state, count in sorted(servers)},
        incidents={IncidentKind(kind): count for kind, count in sorted(incidents)},
        loops=[loop_view(status) for status in services.driver.statuses],
    )


def loop_view(status: LoopStatus) -> LoopView:
    return LoopView(
        name=status.name,
        period_s=status.period_s,
        turns=status.turns,
        failures=status.failures,
        failing=status.failing,
        turned_at=status.turned_at,
        took_s=None if status.took_s is None else round(status.took_s, 4),
        error=status.error,
        error_at=status.error_at,
    )
