"""Requests on servers: operators' on servers that are not leased, customers' on leased ones."""

from pydantic import Field, model_validator

from provisioner.accounts.ssh_keys import public_keys
from provisioner.catalogue.images import image_named
from provisioner.domain.lifecycle import RequestVerb
from provisioner.fleet import requests as fleet
from provisioner.fleet.inventory import Line
from provisioner.fleet.requests import Installation
from provisioner.fleet.servers import server_named
from provisioner.rental import requests as rental
from provisioner.rental.reservations import visible_reservation
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.views.base import Page, PageQuery
from provisioner.service.views.requests import (
    RequestView,
    filed_request,
    reservation_requests,
    server_requests,
)


class NewServerRequest(
    Body,
    title="NewServerRequest",
    json_schema_extra={"examples": [{"verb": "maintain", "reason": "new power supply"}]},
):
    """A request for work on a server."""

    verb: RequestVerb
    """What to do. The server's `allowed_requests` lists what its state allows."""
    reason: str = Field(default="", max_length=1000)
    """Why, for the audit trail and other operators."""
    image: Line | None = None
    """Name of the image to install. Only for the verb `image`."""
    ssh_keys: list[str] = Field(default_factory=list, max_length=50)
    """Keys that may log in to the installed system: identifiers or names of the account's keys, or
    public key lines. Only for the verb `image`."""

    @model_validator(mode="after")
    def _complete(self) -> "NewServerRequest":
        wanted = self.verb is RequestVerb.IMAGE
        if wanted != (self.image is not None) or wanted != bool(self.ssh_keys):
            raise ValueError("image and ssh_keys are required by the verb image, and only by it")
        return self


class NewLeaseRequest(
    Body, title="NewLeaseRequest", json_schema_extra={"examples": [{"verb": "reboot"}]}
):
    """A request for work on a leased server."""

    verb: RequestVerb
    """What to do: `start`, `stop`, `reboot`, `power_cycle` or `reinstall`."""
    image: Line | None = None
    """Name of the image to install. Only for `reinstall`; null means the reservation's image."""
    reason: str = Field(default="", max_length=1000)
    """Why, for the audit trail and the customer."""

    @model_validator(mode="after")
    def _fits(self) -> "NewLeaseRequest":
        if self.image is not None and self.verb is not RequestVerb.REINSTALL:
            raise ValueError("image is only for the verb reinstall")
        return self


async def create(call: Call, body: NewServerRequest) -> RequestView:
    """Request work on a server.

    The request waits in the server's queue until the server's state allows it and earlier requests
    are done. A request for another state (`quarantine`, `repaired`, `maintain`, `resume`, `retire`)
    goes first, and replaces any other of these that is waiting.
    """
    async with call.services.database.write() as session:
        installation = None
        if body.image is not None:
            keys = await public_keys(session, call.actor.account_id, body.ssh_keys, literal=True)
            installation = Installation(await image_named(session, body.image), keys)
        row = await fleet.request(
            session,
            call.path("name"),
            body.verb,
            actor=call.actor,
            now=call.now(),
            reason=body.reason,
            installation=installation,
        )
        return await filed_request(session, row)


async def list_all(call: Call, query: PageQuery) -> Page[RequestView]:
    """List the requests on a server, newest first."""
    async with call.services.database.read() as session:
        server = await server_named(session, call.path("name"))
        return await server_requests(session, server, query)


async def create_for_lease(call: Call, body: NewLeaseRequest) -> RequestView:
    """Start, stop, reboot, power cycle or reinstall a reservation's server.

    `stop` and `reboot` press the power button, and cut the power if the system does not shut down
    within a few minutes. `reinstall` writes the image to the system disk again: lease, address,
    host name, host key, SSH keys and user data stay the same, and other disks are not touched.
    """
    async with call.services.database.write() as session:
        row = await rental.request(
            session,
            call.path("id"),
            body.verb,
            image=body.image or "",
            reason=body.reason,
            actor=call.actor,
            now=call.now(),
        )
        return await filed_request(session, row)


async def list_for_lease(call: Call, query: PageQuery) -> Page[RequestView]:
    """List the requests on a reservation's server, newest first."""
    async with call.services.database.read() as session:
        row = await visible_reservation(session, call.path("id"), call.actor)
        return await reservation_requests(session, row.id, query)
