"""How servers, GPUs and a customer's lease are."""

from pydantic import Field
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health.levels import HealthLevel
from provisioner.fleet.servers import server_named
from provisioner.rental import booking
from provisioner.service.http.endpoint import Call
from provisioner.service.views.base import Page, PageQuery, page
from provisioner.service.views.health import (
    GpuView,
    ServerHealthView,
    gpu_views,
    server_health_view,
)
from provisioner.service.views.lease_health import LeaseHealthView, lease_health_view
from provisioner.store.tables import Server, ServerHealth

_SERVERS_A_LOOK = 50
"""A report of eight GPUs has 13 kB."""


class GpuQuery(PageQuery):
    bad: bool = False
    class_: str | None = Field(default=None, alias="class")
    rack: str | None = None


async def server(call: Call) -> ServerHealthView:
    """How one server is, why, and its GPUs as last reported"""
    async with call.services.database.read() as session:
        row = await server_named(session, call.path("name"))
        return await server_health_view(session, row)


async def list_gpus(call: Call, query: GpuQuery) -> Page[GpuView]:
    """GPUs by server; `bad=true` for those of which something is found"""
    async with call.services.database.read() as session:
        rows = await _gpus(session, query)
    shown, following = page(query, rows, lambda row: f"{row[0]}/{row[1]}")
    return Page(items=[view for _, _, view in shown], next=following)


async def reservation(call: Call) -> LeaseHealthView:
    """How the reservation's server is: its GPUs over the last 24 hours, incidents, outages"""
    async with call.services.database.read() as session:
        row = await booking.visible_reservation(session, call.path("id"), call.caller)
        return await lease_health_view(session, row.id, call.now())


async def _gpus(session: AsyncSession, query: GpuQuery) -> list[tuple[str, int, GpuView]]:
    """GPUs after the cursor with their server's name and their place in it; a part of a server
    does no harm, so a page may end within one."""
    name, _, place = (query.cursor or "").rpartition("/")
    after = (name, int(place) if place.isdecimal() else -1)
    statement = select(Server).order_by(col(Server.name)).limit(_SERVERS_A_LOOK)
    if query.bad:
        statement = statement.join(ServerHealth).where(ServerHealth.level != HealthLevel.OK)
    if query.class_ is not None:
        statement = statement.where(Server.class_name == query.class_)
    if query.rack is not None:
        statement = statement.where(Server.rack == query.rack)
    rows: list[tuple[str, int, GpuView]] = []
    looked = statement.where(col(Server.name) >= name)
    while len(rows) < query.fetch:
        servers = (await session.exec(looked)).all()
        for row, gpus in zip(servers, await gpu_views(session, servers), strict=True):
            rows += [
                (row.name, number, gpu)
                for number, gpu in enumerate(gpus)
                if (row.name, number) > after and not (query.bad and gpu.level is HealthLevel.OK)
            ]
        if len(servers) < _SERVERS_A_LOOK:
            break
        looked = statement.where(col(Server.name) > servers[-1].name)
    return rows
