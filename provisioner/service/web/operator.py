"""Read-only pages for operators: what the fleet does, what does not move and why."""

from collections import Counter

from aiohttp import web
from sqlmodel import col, select

from provisioner.domain.lifecycle import SLA, State
from provisioner.domain.refusals import Refusal, RefusalKind
from provisioner.fleet.servers import server_named
from provisioner.service.api import operations as queries
from provisioner.service.api.servers import ServerQuery, matching
from provisioner.service.views.base import PageQuery
from provisioner.service.views.certificates import certificate_view, server_certificates
from provisioner.service.views.health import server_health_view
from provisioner.service.views.operations import (
    incident_view,
    log_tail,
    log_view,
    operation_detail,
    operation_view,
)
from provisioner.service.views.servers import server_views
from provisioner.service.web.render import page
from provisioner.service.web.session import Visitor, for_role
from provisioner.store.tables import Operation, Role, Server

_MOST = 1000
_LINES = 200
_PAST = 10


@for_role(Role.OPERATOR)
async def servers(request: web.Request, who: Visitor) -> web.StreamResponse:
    try:
        state = State(request.query["state"]) if request.query.get("state") else None
    except ValueError:
        state = None
    async with who.services.database.read() as session:
        rows = await matching(session, ServerQuery(state=state, limit=_MOST))
        views = await server_views(session, rows[:_MOST], who.services.clock())
        everywhere = (await session.exec(select(Server.state))).all()
    return page(
        request,
        "servers.html",
        who,
        servers=views,
        shown=state,
        counts=Counter(everywhere),
        sla={s: limit.total_seconds() for s, limit in SLA.items()},
    )


@for_role(Role.OPERATOR)
async def server(request: web.Request, who: Visitor) -> web.StreamResponse:
    async with who.services.database.read() as session:
        row = await server_named(session, request.match_info["name"])
        view = (await server_views(session, [row], who.services.clock()))[0]
        found = await session.exec(
            select(Operation)
            .where(Operation.server_id == row.id)
            .order_by(col(Operation.id).desc())
            .limit(_PAST)
        )
        past = found.all()
        latest = await operation_detail(session, past[0]) if past else None
        lines = await log_tail(session, past[0].id, _LINES) if past else []
        certificates = await server_certificates(session, row, PageQuery(limit=_PAST))
        health = await server_health_view(session, row)
    return page(
        request,
        "server.html",
        who,
        server=view,
        operation=latest,
        health=health,
        log=[log_view(line) for line in lines],
        past=[operation_view(operation, view.name) for operation in past[1:]],
        certificates=[certificate_view(c, view.name) for c in certificates[:_PAST]],
        sla=SLA[view.state].total_seconds() if view.state in SLA else None,
    )


@for_role(Role.OPERATOR)
async def operation(request: web.Request, who: Visitor) -> web.StreamResponse:
    async with who.services.database.read() as session:
        row = await session.get(Operation, request.match_info["id"])
        if row is None:
            raise Refusal(RefusalKind.NOT_FOUND, "unknown_operation", "there is no such operation")
        view = await operation_detail(session, row)
        lines = await log_tail(session, row.id, _LINES)
    return page(
        request, "operation.html", who, operation=view, log=[log_view(line) for line in lines]
    )


@for_role(Role.OPERATOR)
async def incidents(request: web.Request, who: Visitor) -> web.StreamResponse:
    async with who.services.database.read() as session:
        rows = await queries.incidents(session, queries.IncidentQuery(limit=_MOST))
    views = [incident_view(row, name) for row, name in rows[:_MOST]]
    return page(
        request,
        "incidents.html",
        who,
        open_ones=[view for view in views if view.closed_at is None],
        closed_ones=[view for view in views if view.closed_at is not None],
    )
