"""Servers: show them, retry an operation, set BMC credentials."""

from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field

from provisioner.fleet import servers
from provisioner.fleet.inventory import Line
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.views.base import Page, PageQuery, page
from provisioner.service.views.certificates import (
    CertificateView,
    certificate_view,
    server_certificates,
)
from provisioner.service.views.servers import (
    ServerQuery,
    ServerView,
    server_views,
    servers_by_name,
)

Address = Annotated[str, AfterValidator(lambda text: str(ip_address(text)))]


class BmcAccess(
    Body,
    title="BmcAccess",
    json_schema_extra={"examples": [{"username": "ironlease", "password": "secret"}]},
):
    """How to reach a server's BMC."""

    username: Line
    """User to log in as."""
    password: str = Field(min_length=1, max_length=200)
    """Password of the user. It is stored encrypted and never shown."""
    address: Address | None = None
    """IP address of the BMC. Null leaves it unchanged."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """UDP port of the BMC. Null leaves it unchanged."""


async def list_all(call: Call, query: ServerQuery) -> Page[ServerView]:
    """List servers by name."""
    async with call.services.database.read() as session:
        shown, following = page(query, await servers_by_name(session, query), lambda row: row.name)
        return Page(items=await server_views(session, shown, call.now()), next=following)


async def show(call: Call) -> ServerView:
    """Show a server with its operation, lease, disks and open incidents."""
    async with call.services.database.read() as session:
        server = await servers.server_named(session, call.path("name"))
        return (await server_views(session, [server], call.now()))[0]


async def retry(call: Call) -> ServerView:
    """Retry a parked operation now."""
    async with call.services.database.write() as session:
        server = await servers.retry(session, call.path("name"), actor=call.actor, now=call.now())
        return (await server_views(session, [server], call.now()))[0]


async def set_bmc(call: Call, body: BmcAccess) -> ServerView:
    """Change the credentials or address of the server's BMC."""
    async with call.services.database.write() as session:
        server = await servers.set_bmc(
            session,
            call.path("name"),
            call.services.secret_box,
            username=body.username,
            password=body.password,
            address=body.address,
            port=body.port,
            actor=call.actor,
            now=call.now(),
        )
        return (await server_views(session, [server], call.now()))[0]


async def certificates(call: Call, query: PageQuery) -> Page[CertificateView]:
    """List the erasure certificates of a server's disks, newest first."""
    async with call.services.database.read() as session:
        server = await servers.server_named(session, call.path("name"))
        rows = await server_certificates(session, server, query)
    shown, following = page(query, rows, lambda row: row.id)
    return Page(items=[certificate_view(row, server.name) for row in shown], next=following)
