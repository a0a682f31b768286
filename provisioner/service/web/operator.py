"""Read-only pages for operators: one server and its operations."""

from aiohttp import web

from provisioner.domain.access import Permission
from provisioner.domain.lifecycle import SLA
from provisioner.fleet.actions import ACTIONS
from provisioner.fleet.servers import server_named
from provisioner.service.views.base import PageQuery
from provisioner.service.views.certificates import certificate_view, server_certificates
from provisioner.service.views.health import server_health_view
from provisioner.service.views.operations import (
    known_operation,
    log_tail,
    log_view,
    operation_detail,
    operation_view,
    operations_of,
)
from provisioner.service.views.servers import server_views
from provisioner.service.web.render import page
from provisioner.service.web.session import Visitor, page_for

_LINES = 200
_PAST = 10


@page_for(Permission.OPERATE)
async def server(request: web.Request, who: Visitor) -> web.StreamResponse:
    async with who.services.database.read() as session:
        row = await server_named(session, request.match_info["name"])
        view = (await server_views(session, [row], who.services.clock()))[0]
        past = await operations_of(session, row, _PAST)
        latest = await operation_detail(session, past[0]) if past else None
        lines = await log_tail(session, past[0].id, _LINES) if past else []
        certificates = await server_certificates(session, row, PageQuery(limit=_PAST))
        health = await server_health_view(session, row)
    return page(
        request,
        "server.html",
        who,
        server=view,
        actions={key: a for key, a in ACTIONS.items() if a.verb and a.allowed(view.state)},
        operation=latest,
        health=health,
        log=[log_view(line) for line in lines],
        past=[operation_view(operation, view.name) for operation in past[1:]],
        certificates=[certificate_view(c, view.name) for c in certificates[:_PAST]],
        sla=SLA[view.state].total_seconds() if view.state in SLA else None,
    )


@page_for(Permission.OPERATE)
async def operation(request: web.Request, who: Visitor) -> web.StreamResponse:
    async with who.services.database.read() as session:
        row = await known_operation(session, request.match_info["id"])
        view = await operation_detail(session, row)
        lines = await log_tail(session, row.id, _LINES)
    return page(
        request, "operation.html", who, operation=view, log=[log_view(line) for line in lines]
    )
