"""How servers, GPUs and a customer's lease are."""

from provisioner.fleet.servers import server_named
from provisioner.rental.reservations import visible_reservation
from provisioner.service.http.endpoint import Call
from provisioner.service.views.base import Page, page
from provisioner.service.views.health import (
    GpuQuery,
    GpuView,
    ServerHealthView,
    gpus_by_server,
    server_health_view,
)
from provisioner.service.views.lease_health import LeaseHealthView, lease_health_view


async def server(call: Call) -> ServerHealthView:
    """How one server is, why, and its GPUs as last reported"""
    async with call.services.database.read() as session:
        row = await server_named(session, call.path("name"))
        return await server_health_view(session, row)


async def list_gpus(call: Call, query: GpuQuery) -> Page[GpuView]:
    """GPUs by server; `bad=true` for those of which something is found"""
    async with call.services.database.read() as session:
        rows = await gpus_by_server(session, query)
    shown, following = page(query, rows, lambda row: f"{row[0]}/{row[1]}")
    return Page(items=[view for _, _, view in shown], next=following)


async def reservation(call: Call) -> LeaseHealthView:
    """How the reservation's server is: its GPUs over the last 24 hours, incidents, outages"""
    async with call.services.database.read() as session:
        row = await visible_reservation(session, call.path("id"), call.actor)
        return await lease_health_view(session, row.id, call.now())
