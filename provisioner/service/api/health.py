"""The health of servers, GPUs and leases."""

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
    """Show the health of a server and its GPUs."""
    async with call.services.database.read() as session:
        row = await server_named(session, call.path("name"))
        return await server_health_view(session, row)


async def list_gpus(call: Call, query: GpuQuery) -> Page[GpuView]:
    """List GPUs by server."""
    async with call.services.database.read() as session:
        rows = await gpus_by_server(session, query)
    shown, following = page(query, rows, lambda row: f"{row[0]}/{row[1]}")
    return Page(items=[view for _, _, view in shown], next=following)


async def reservation(call: Call) -> LeaseHealthView:
    """Show the health of a reservation's server.

    Includes the GPUs' readings of the last 24 hours, open incidents, and outages, which are not
    billed.
    """
    async with call.services.database.read() as session:
        row = await visible_reservation(session, call.path("id"), call.actor)
        return await lease_health_view(session, row.id, call.now())
