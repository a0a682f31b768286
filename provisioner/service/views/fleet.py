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
from provisioner.domain.lifecycle import State
from provisioner.service.views.attention import NEEDS_ATTENTION
from provisioner.service.views.servers import ServerView, server_views
from provisioner.store.tables import Server, ServerHealth

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


class Fleet(NamedTuple):
    servers: list[ServerView]
    total: int
    """Servers that match."""
    pages: int
    sites: Sequence[str]
    racks: Sequence[str]
    classes: Sequence[str]


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
        .order_by(case((NEEDS_ATTENTION, 0), (_SICK, 1), else_=2), col(Server.name))
        .limit(PAGE)
        .offset((query.page - 1) * PAGE)
    )
    return Fleet(
        servers=await server_views(session, found.all(), now),
        total=total,
        pages=max(1, -(-total // PAGE)),
        sites=await _values(session, Server.site),
        racks=await _values(session, Server.rack),
        classes=await _values(session, Server.class_name),
    )


async def count_needs(session: AsyncSession) -> int:
    """Count the servers that need a person."""
    counted = await session.exec(select(func.count()).select_from(Server).where(NEEDS_ATTENTION))
    return counted.one()


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
        conditions.append(NEEDS_ATTENTION)
    return conditions


async def _values(session: AsyncSession, column: str) -> Sequence[str]:
    found = await session.exec(select(column).distinct().order_by(column))
    return found.all()
