"""`POST /agents/report`: an agent reports its health and learns its current grant."""

from aiohttp import web

from agent.protocol import RAMDISK, TENANT, Report, ReportAnswer
from provisioner.rental.grants import grant_of
from provisioner.service.agents.ingest import INGEST
from provisioner.service.agents.links import Link
from provisioner.service.context import services_of
from provisioner.service.http.bearer import bearer, unknown_agent
from provisioner.service.http.messages import read_message
from provisioner.service.http.problems import HttpError
from provisioner.store.secrets import token_hash


async def report(request: web.Request) -> web.Response:
    services = services_of(request)
    ingest = request.app[INGEST]
    link = await ingest.links.find(token_hash(bearer(request)))
    if link is None:
        raise unknown_agent()
    said = await read_message(request, Report)
    _check_sender(link, said)
    await ingest.take(link, said)
    grant = None
    if link.lease is not None and said.echo:
        grant = grant_of(
            link.lease, link.serial, services.secret_box, now=services.clock(), echo=said.echo
        )
    answer = ReportAnswer(interval_s=services.report_interval_s, grant=grant)
    return web.Response(text=answer.to_json(), content_type="application/json")


def _check_sender(link: Link, said: Report) -> None:
    context = RAMDISK if link.lease is None else TENANT
    if said.server != link.server_id or said.context != context:
        raise HttpError(
            403,
            "other_agent",
            f"this identity belongs to the {context} agent of {link.server_id}",
            next_action="use the agent configuration written for this server",
        )
