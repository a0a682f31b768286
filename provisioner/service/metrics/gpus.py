"""`/metrics/gpus` for Prometheus: the GPUs of some servers as last reported, under the DCGM
exporter's names. Which servers is the scraper's to say, so that sites choose how much.
"""

import asyncio
from datetime import timedelta

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import col, select

from agent.signals.prometheus import exposition
from provisioner.domain.access import Permission
from provisioner.service.context import services_of
from provisioner.service.http.bearer import actor_by_token
from provisioner.service.http.endpoint import read_query
from provisioner.service.http.problems import HttpError
from provisioner.service.views.health import newest_reports
from provisioner.store.tables import Server

MOST = 100
"""Servers in one answer: with eight GPUs each, 5 MB; a rack has fewer."""
_SERVERS_A_LOOK = 20
"""Reports are decoded on the event loop, which must not be held for long."""
_FRESH = timedelta(minutes=3)
"""Older reports are left out; Prometheus then ends the series."""


class Wanted(BaseModel):
    """A filter of servers; all given parts must match."""

    model_config = ConfigDict(extra="forbid")

    site: str | None = None
    rack: str | None = None
    class_: str | None = Field(default=None, alias="class")
    server: str | None = None


async def gpu_metrics(request: web.Request) -> web.Response:
    """For operators only: a GPU's activity is private to its tenant."""
    (await actor_by_token(request)).require(Permission.OPERATE)
    wanted = read_query(request, Wanted)
    services = services_of(request)
    statement = select(Server).order_by(col(Server.name)).limit(MOST + 1)
    for column, value in (
        (Server.site, wanted.site),
        (Server.rack, wanted.rack),
        (Server.class_name, wanted.class_),
        (Server.name, wanted.server),
    ):
        if value is not None:
            statement = statement.where(column == value)
    async with services.database.read() as session:
        servers = (await session.exec(statement)).all()
        if len(servers) > MOST:
            raise HttpError(
                422,
                "too_many_servers",
                f"one answer has {MOST} servers at most",
                next_action="scrape by parts: ?site=, ?rack=, ?class= or ?server=",
            )
        since = services.clock() - _FRESH
        machines = []
        for first in range(0, len(servers), _SERVERS_A_LOOK):
            some = {server.id: server.name for server in servers[first : first + _SERVERS_A_LOOK]}
            for id_, heard in (await newest_reports(session, list(some), since=since)).items():
                if heard.health:
                    labels = {"Hostname": some[id_], "server": some[id_]}
                    machines.append((dict(heard.health), labels))
    body = await asyncio.to_thread(lambda: exposition(*machines).encode())
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
