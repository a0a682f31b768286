"""Operators' page of all servers, and what they do with several of them at once."""

from functools import partial
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from pydantic import ValidationError

from provisioner.domain.access import Permission
from provisioner.domain.lifecycle import SLA, State
from provisioner.fleet.actions import ACTIONS, Action, act_on_each
from provisioner.service.http.problems import HttpError
from provisioner.service.views.fleet import FleetQuery, HealthFilter, fleet
from provisioner.service.views.servers import count_by_state, servers_named
from provisioner.service.web.render import page
from provisioner.service.web.session import Form, Visitor, checked_form, page_for

_MOST = 1000
_LONGEST_REASON = 1000


@page_for(Permission.OPERATE)
async def show(request: web.Request, who: Visitor) -> web.StreamResponse:
    query = _query(request)
    async with who.services.database.read() as session:
        found = await fleet(session, query, who.services.clock())
        counts = await count_by_state(session)
    return page(
        request,
        "servers.html",
        who,
        fleet=found,
        query=query,
        counts=counts,
        states=list(State),
        levels=list(HealthFilter),
        actions=ACTIONS,
        filtered=partial(_link, query),
        sla={s: limit.total_seconds() for s, limit in SLA.items()},
    )


@page_for(Permission.OPERATE)
async def confirm(request: web.Request, who: Visitor) -> web.StreamResponse:
    """Says what will be done with which servers; nothing is done yet."""
    return await _confirm(
        request, who, _action(request.query.get("action", "")), request.query.getall("server", [])
    )


@page_for(Permission.OPERATE)
async def act(request: web.Request, who: Visitor) -> web.StreamResponse:
    """Does it to one server after the other, each for itself."""
    fields = await checked_form(request, who.session)
    action, names = _action(fields.get("action", "")), _chosen(fields)
    reason = fields.get("reason", "").strip()[:_LONGEST_REASON]
    if action.needs_reason and not reason:
        return await _confirm(request, who, action, names, error="Say why.")
    outcomes = await act_on_each(
        who.services.database, action, names, actor=who.actor, clock=who.services.clock, why=reason
    )
    return page(request, "fleet_result.html", who, action=action, outcomes=outcomes)


async def _confirm(
    request: web.Request, who: Visitor, action: Action, names: list[str], error: str = ""
) -> web.Response:
    names = sorted(set(names))[:_MOST]
    if not names:
        raise HttpError(
            422,
            "invalid_request",
            "no server is chosen",
            next_action="go back and tick the servers in the list",
        )
    async with who.services.database.read() as session:
        rows = {row.name: row for row in await servers_named(session, names)}
    return page(
        request,
        "fleet_confirm.html",
        who,
        status=422 if error else 200,
        action=action,
        key=next(key for key, each in ACTIONS.items() if each is action),
        servers=[rows[name] for name in names if name in rows],
        unknown=[name for name in names if name not in rows],
        error=error,
    )


def _action(key: str) -> Action:
    if key not in ACTIONS:
        raise HttpError(
            422, "invalid_request", "no action is chosen", next_action="go back and choose one"
        )
    return ACTIONS[key]


def _chosen(fields: Form) -> list[str]:
    return sorted(set(fields.getall("server", [])))[:_MOST]


def _query(request: web.Request) -> FleetQuery:
    """Return the filters of the address, without those that are no value of theirs."""
    given = {key: value for key, value in request.query.items() if value}
    try:
        return FleetQuery.model_validate(given)
    except ValidationError as error:
        wrong = {str(fault["loc"][0]) for fault in error.errors()}
        return FleetQuery.model_validate({k: v for k, v in given.items() if k not in wrong})


def _link(query: FleetQuery, **changes: Any) -> str:
    """The address of the list with some filters changed, from its first page on."""
    filters = {**query.model_dump(by_alias=True, mode="json"), "page": 1, **changes}
    given = {k: v for k, v in filters.items() if v and (k, v) != ("page", 1)}
    return "/servers" + (f"?{urlencode(given)}" if given else "")
