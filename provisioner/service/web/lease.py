"""A customer's reservations, and the page of one: progress, login, power, swap, release."""

from datetime import datetime, timedelta
from functools import partial

from aiohttp import web

from provisioner.domain.access import Permission
from provisioner.domain.lifecycle import RequestVerb
from provisioner.rental import requests, reservations
from provisioner.rental import swap as swaps
from provisioner.service.http.problems import HttpError
from provisioner.service.http.streams import send_changes
from provisioner.service.views.catalogue import image_views
from provisioner.service.views.certificates import erasure_left, reservation_certificates
from provisioner.service.views.lease_health import LeaseHealthView, lease_health_view
from provisioner.service.views.reservations import (
    current_reservation,
    reservation_view,
    reservations_of,
)
from provisioner.service.web.charts import HEIGHT, WIDTH, gpu_charts
from provisioner.service.web.render import duration, page
from provisioner.service.web.session import Visitor, checked_form, page_for

_SHOWN = 100
_SILENT = timedelta(minutes=3)
"""Without a report for this long, an agent is silent; the health rules use the same limit."""

_UNREAD = {
    "": "The agent in your system does not read GPUs.",
    "starting": "The GPUs are being read for the first time.",
    "absent": "No GPU can be read: the server has none, or its NVIDIA driver is not loaded.",
    "hung": "The GPUs cannot be read: the NVIDIA driver does not answer.",
    "failed": "The GPUs cannot be read: the NVIDIA driver fails.",
}


@page_for(Permission.RENT)
async def overview(request: web.Request, who: Visitor) -> web.StreamResponse:
    return await overview_page(request, who)


async def overview_page(request: web.Request, who: Visitor) -> web.Response:
    """One's own newest reservations, current ones first."""
    async with who.services.database.read() as session:
        views = await reservations_of(session, who.account.id, _SHOWN, who.services.clock())
    return page(
        request,
        "overview.html",
        who,
        current=[view for view in views if not view.state.is_over],
        past=[view for view in views if view.state.is_over],
    )


@page_for(Permission.RENT)
async def show(request: web.Request, who: Visitor) -> web.StreamResponse:
    now = who.services.clock()
    async with who.services.database.read() as session:
        row = await reservations.visible_reservation(session, request.match_info["id"], who.actor)
        view = await reservation_view(session, row, now)
        certificates = await reservation_certificates(session, row.id)
        erasing = await erasure_left(session, row.id)
        health = await lease_health_view(session, row.id, now)
        images = await image_views(session)
    lease = view.lease
    left = view.ends_at - now
    return page(
        request,
        "lease.html",
        who,
        reservation=view,
        lease=lease,
        certificates=certificates,
        images=images,
        health=health,
        charts=gpu_charts(health, min(now, lease.ends_at) if lease else now),
        chart_box=(WIDTH, HEIGHT),
        unread=_unread(health, now) if lease and lease.ssh_command else [],
        left=max(0.0, left.total_seconds()),
        over=view.state.is_over,
        erasing=erasing,
        live=not view.is_over or erasing.disks > 0,
        in_progress=view.in_progress or erasing.disks > 0,
    )


@page_for(Permission.RENT)
async def events(request: web.Request, who: Visitor) -> web.StreamResponse:
    return await send_changes(
        request,
        who.account.id,
        "reservation",
        partial(current_reservation, who.services, who.actor, request.match_info["id"]),
        over=lambda view: view.is_over,
        poll_s=who.services.poll_s,
    )


@page_for(Permission.RENT)
async def swap(request: web.Request, who: Visitor) -> web.StreamResponse:
    await checked_form(request, who.session)
    reservation_id = request.match_info["id"]
    async with who.services.database.write() as session:
        await swaps.swap(session, reservation_id, actor=who.actor, now=who.services.clock())
    raise web.HTTPSeeOther(f"/reservations/{reservation_id}")


@page_for(Permission.RENT)
async def request_work(request: web.Request, who: Visitor) -> web.StreamResponse:
    """Start, stop, reboot, power cycle or reinstall the server."""
    fields = await checked_form(request, who.session)
    reservation_id = request.match_info["id"]
    try:
        verb = RequestVerb(fields.get("verb", ""))
    except ValueError as error:
        raise HttpError(422, "invalid_request", "there is no such request") from error
    image = fields.get("image", "") if verb is RequestVerb.REINSTALL else ""
    async with who.services.database.write() as session:
        await requests.request(
            session,
            reservation_id,
            verb,
            image=image,
            actor=who.actor,
            now=who.services.clock(),
        )
    raise web.HTTPSeeOther(f"/reservations/{reservation_id}")


@page_for(Permission.RENT)
async def release(request: web.Request, who: Visitor) -> web.StreamResponse:
    await checked_form(request, who.session)
    reservation_id = request.match_info["id"]
    async with who.services.database.write() as session:
        await reservations.release(
            session, reservation_id, actor=who.actor, now=who.services.clock()
        )
    raise web.HTTPSeeOther(f"/reservations/{reservation_id}")


def _unread(health: LeaseHealthView, now: datetime) -> list[str]:
    """Why charts are missing or out of date."""
    if health.seen_at is None:
        return ["The agent in your system has not reported yet, so nothing is measured."]
    silence = now - health.seen_at
    if silence > _SILENT:
        return [f"The agent in your system last reported {duration(silence)} ago."]
    if health.state in _UNREAD:
        return [_UNREAD[health.state]]
    return [] if health.at else ["Charts will appear within a few minutes."]
