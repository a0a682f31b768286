"""The status of the service."""

from provisioner.service.http.endpoint import Call
from provisioner.service.views.status import StatusView, status_view


async def show(call: Call) -> StatusView:
    """Show the service's status.

    Includes version, database, servers by state, open incidents, and every background loop.
    """
    return await status_view(call.services)
