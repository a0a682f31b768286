"""How the service does."""

from provisioner.service.http.endpoint import Call
from provisioner.service.views.status import StatusView, status_view


async def show(call: Call) -> StatusView:
    """Show how the service does.

    Version, database, servers by state, open incidents, and each loop of the background work.
    """
    return await status_view(call.services)
