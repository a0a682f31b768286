"""Operators' page of incidents: found by filters, grouped, acknowledged, assigned and noted."""

from collections.abc import Callable
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from provisioner import incidents
from provisioner.accounts.accounts import active_operators, find_account
from provisioner.domain.access import Permission
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.runbooks import RUNBOOKS
from provisioner.service.http.problems import HttpError
from provisioner.service.views.operations import IncidentQuery, IncidentView, incident_page
from provisioner.service.web.render import page
from provisioner.service.web.session import Visitor, checked_form, page_for

_SHOWN = 200
_LONGEST_NOTE = 4000
_GROUPS: dict[str, Callable[[IncidentView], str]] = {
    "kind": lambda view: view.kind.value,
    "server": lambda view: view.server or view.reservation or "Fleet",
}
_FILTERS = ("show", "kind", "server", "who", "group")


@page_for(Permission.OPERATE)
async def show(request: web.Request, who: Visitor) -> web.StreamResponse:
    given = {name: request.query.get(name, "") for name in _FILTERS}
    async with who.services.database.read() as session:
        found = await incident_page(session, _query(given, who))
        operators = await active_operators(session)
    group = given["group"] if given["group"] in _GROUPS else "kind"
    return page(
        request,
        "incidents.html",
        who,
        groups=_grouped(found.items, group),
        total=len(found.items),
        more=found.next is not None,
        given={**given, "group": group},
        kinds=list(IncidentKind),
        operators=operators,
        back=_address(given),
    )


@page_for(Permission.OPERATE)
async def work(request: web.Request, who: Visitor) -> web.StreamResponse:
    """Acknowledge an incident, assign it, or write a note on it."""
    fields = await checked_form(request, who.session)
    which, actor, now = request.match_info["id"], who.actor, who.services.clock()
    async with who.services.database.write() as session:
        match request.match_info["work"]:
            case "acknowledge":
                await incidents.acknowledge(session, which, actor=actor, now=now)
            case "assign":
                assignee = await find_account(session, fields.get("account", ""))
                await incidents.assign(session, which, assignee, actor=actor, now=now)
            case "note":
                text = fields.get("text", "")[:_LONGEST_NOTE]
                await incidents.note(session, which, text, actor=actor, now=now)
            case _:
                raise HttpError(404, "not_found", "there is no such page")
    given = {name: fields.get(name, "") for name in _FILTERS}
    raise web.HTTPSeeOther(f"{_address(given)}#{which}")


def _query(given: dict[str, str], who: Visitor) -> IncidentQuery:
    """Open ones, unless others are asked for; a value that is no filter's is none."""
    kinds = {kind.value: kind for kind in IncidentKind}
    return IncidentQuery(
        limit=_SHOWN,
        open={"closed": False, "all": None}.get(given["show"], True),
        kind=kinds.get(given["kind"]),
        server=given["server"][:253].strip() or None,
        acknowledged=False if given["who"] == "nobody" else None,
        assignee=who.account.id if given["who"] == "me" else None,
    )


def _grouped(views: list[IncidentView], group: str) -> list[tuple[str, list[IncidentView]]]:
    """What nobody has acknowledged first, then the oldest."""
    key = _GROUPS[group]
    ordered = sorted(views, key=lambda v: (key(v), v.acknowledged_at is not None, v.opened_at))
    return [(name, list(each)) for name, each in groupby(ordered, key)]


def _address(given: dict[str, Any]) -> str:
    filters = {name: value for name, value in given.items() if value}
    return "/incidents" + (f"?{urlencode(filters)}" if filters else "")


@page_for(Permission.OPERATE)
async def runbook(request: web.Request, who: Visitor) -> web.StreamResponse:
    return page(request, "runbook.html", who, runbooks=RUNBOOKS)
