"""The fleet as a page of servers: found by filters, those that need a person first."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, case
from sqlmodel import col, exists, func, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health.levels import HealthLevel
from provisioner.domain.lifecycle import OperationState, State
from provisioner.service.views.servers import ServerView, server_views
from provisioner.store.tables import Incident, Operation, Server, ServerHealth

PAGE = 50
"""Servers on one page."""


class HealthFilter(StrEnum):
    OK = "ok"
    WATCH = "watch"
    DEGRADED = "degraded"
    FAULTY = "faulty"
    UNKNOWN = "unknown"
    """Not judged yet."""


class FleetQuery(BaseModel):
    """Which servers to show. Empty fields are no filter."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    q: str = Field(default="", max_length=200)
    """Part of a name, address, serial number or MAC address."""
    site: str = ""
    rack: str = ""
    class_: str = Field(default="", alias="class")
    state: State | None = None
    health: HealthFilter | None = None
    needs: bool = False
    """Only those that need a person."""
    page: int = Field(default=1, ge=1, le=100_000)


class Need(NamedTuple):
    """Why a server needs a person, and what to do."""

    why: str
    next_action: str


class FleetRow(NamedTuple):
    server: ServerView
    need: Need | None


class Fleet(NamedTuple):
    rows: list[FleetRow]
    total: int
    """Servers that match."""
    pages: int
    sites: Sequence[str]
    racks: Sequence[str]
    classes: Sequence[str]


_REPORTED = exists().where(
    col(Incident.server_id) == col(Server.id), col(Incident.closed_at).is_(None)
)
_PARKED = exists().where(
    col(Operation.server_id) == col(Server.id), col(Operation.state) == OperationState.PARKED
)
_NEEDS = or_(_REPORTED, _PARKED, col(Server.next_action) != "")
_SICK = exists().where(
    col(ServerHealth.server_id) == col(Server.id), col(ServerHealth.level) != HealthLevel.OK
)


async def fleet(session: AsyncSession, query: FleetQuery, now: datetime) -> Fleet:
    """Return one page of the servers that match; a page beyond the last is empty."""
    conditions = list(_conditions(query))
    total = (await session.exec(select(func.count()).select_from(Server).where(*conditions))).one()
    found = await session.exec(
        select(Server)
        .where(*conditions)
        .order_by(case((_NEEDS, 0), (_SICK, 1), else_=2), col(Server.name))
        .limit(PAGE)
        .offset((query.page - 1) * PAGE)
    )
    views = await server_views(session, found.all(), now)
    return Fleet(
        rows=[FleetRow(view, need_of(view)) for view in views],
        total=total,
        pages=max(1, -(-total // PAGE)),
        sites=await _values(session, Server.site),
        racks=await _values(session, Server.rack),
        classes=await _values(session, Server.class_name),
    )


async def count_needs(session: AsyncSession) -> int:
    """Count the servers that need a person."""
    counted = await session.exec(select(func.count()).select_from(Server).where(_NEEDS))
    return counted.one()


def need_of(server: ServerView) -> Need | None:
    """Return why a server needs a person, if it does: its own reason, or an incident's."""
    incidents = server.incidents
    parked = server.operation is not None and server.operation.state is OperationState.PARKED
    if not (incidents or parked or server.next_action):
        return None
    if server.next_action or not incidents:
        return Need(server.reason, server.next_action)
    # A leased server keeps its state; the incident says what is wrong with it.
    return Need(incidents[0].reason, incidents[0].next_action)


def _conditions(query: FleetQuery) -> list[ColumnElement[bool]]:
    exact = (
        (Server.site, query.site),
        (Server.rack, query.rack),
        (Server.class_name, query.class_),
        (Server.state, query.state),
    )
    conditions: list[ColumnElement[bool]] = [col(of) == value for of, value in exact if value]
    if query.q.strip():
        places = (Server.name, Server.address, Server.serial, Server.boot_mac, Server.bmc_address)
        wanted = query.q.strip()
        conditions.append(or_(*(col(of).icontains(wanted, autoescape=True) for of in places)))
    if query.health is not None:
        judged = exists().where(col(ServerHealth.server_id) == col(Server.id))
        if query.health is HealthFilter.UNKNOWN:
            conditions.append(~judged)
        else:
            conditions.append(judged.where(col(ServerHealth.level) == query.health.value))
    if query.needs:
        conditions.append(_NEEDS)
    return conditions


async def _values(session: AsyncSession, column: str) -> Sequence[str]:
    found = await session.exec(select(column).distinct().order_by(column))
    return found.all()
