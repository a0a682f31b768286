"""A customer's reservations, and the page of one: how far it is, how to log in, give it back."""

from datetime import datetime, timedelta

from aiohttp import web
from sqlmodel import col, select

from provisioner.rental import booking
from provisioner.service.api.reservations import stream
from provisioner.service.views.certificates import reservation_certificates
from provisioner.service.views.lease_health import LeaseHealthView, lease_health_view
from provisioner.service.views.reservations import (
    LeaseState,
    reservation_view,
    reservation_views,
)
from provisioner.service.web.charts import HEIGHT, WIDTH, gpu_charts
from provisioner.service.web.render import duration, page
from provisioner.service.web.session import Visitor, checked_form, for_role
from provisioner.store.tables import Reservation, ReservationState, Role

_SHOWN = 100
_SILENT = timedelta(minutes=3)
"""An agent that did not report for so long is called silent; the health rules say the same."""

_UNREAD = {
    "": "The agent in your system does not read GPUs.",
    "starting": "The GPUs are being read for the first time.",
    "absent": "No GPU can be read: the server has none, or its NVIDIA driver is not loaded.",
    "hung": "The NVIDIA driver does not answer, so the GPUs cannot be read.",
    "failed": "The NVIDIA driver fails, so the GPUs cannot be read.",
}


@for_role(Role.CUSTOMER)
async def overview(request: web.Request, who: Visitor) -> web.StreamResponse:
    """The newest reservations; those that go on stand first."""
    async with who.services.database.read() as session:
        rows = await session.exec(
            select(Reservation)
            .where(Reservation.account_id == who.caller.account.id)
            .order_by(col(Reservation.id).desc())
            .limit(_SHOWN)
        )
        views = await reservation_views(session, rows.all(), who.services.clock())
    over = (ReservationState.ENDED, ReservationState.CANCELLED)
    return page(
        request,
        "overview.html",
        who,
        current=[view for view in views if view.state not in over],
        past=[view for view in views if view.state in over],
    )


@for_role(Role.CUSTOMER)
async def show(request: web.Request, who: Visitor) -> web.StreamResponse:
    now = who.services.clock()
    async with who.services.database.read() as session:
        row = await booking.visible_reservation(session, request.match_info["id"], who.caller)
        view = await reservation_view(session, row, now)
        certificates = await reservation_certificates(session, row.id)
        health = await lease_health_view(session, row.id, now)
    lease = view.lease
    over = view.state in (ReservationState.ENDED, ReservationState.CANCELLED)
    left = (lease.ends_at if lease else view.ends_at) - now
    return page(
        request,
        "lease.html",
        who,
        reservation=view,
        lease=lease,
        certificates=certificates,
        health=health,
        charts=gpu_charts(health, min(now, lease.ends_at) if lease else now),
        chart_box=(WIDTH, HEIGHT),
        unread=_unread(health, now) if lease and lease.ssh_command else [],
        left=max(0.0, left.total_seconds()),
        over=over,
        live=not over or (lease is not None and lease.state is not LeaseState.ENDED),
        releasable=not over and view.released_at is None,
        extensible=not over and view.released_at is None and view.ends_at > now,
    )


@for_role(Role.CUSTOMER)
async def events(request: web.Request, who: Visitor) -> web.StreamResponse:
    return await stream(request, who.services, who.caller, request.match_info["id"])


@for_role(Role.CUSTOMER)
async def swap(request: web.Request, who: Visitor) -> web.StreamResponse:
    await checked_form(request, who.session)
    reservation_id = request.match_info["id"]
    async with who.services.database.write() as session:
        await booking.swap(session, reservation_id, who.caller, who.services.clock())
    raise web.HTTPSeeOther(f"/reservations/{reservation_id}")


@for_role(Role.CUSTOMER)
async def release(request: web.Request, who: Visitor) -> web.StreamResponse:
    await checked_form(request, who.session)
    reservation_id = request.match_info["id"]
    async with who.services.database.write() as session:
        await booking.release(session, reservation_id, who.caller, who.services.clock())
    raise web.HTTPSeeOther(f"/reservations/{reservation_id}")


def _unread(health: LeaseHealthView, now: datetime) -> list[str]:
    """Why there is less to see than there could be."""
    if health.seen_at is None:
        return ["The agent in your system has not reported yet, so nothing is measured."]
    silence = now - health.seen_at
    if silence > _SILENT:
        return [f"The agent in your system last reported {duration(silence)} ago."]
    if health.state in _UNREAD:
        return [_UNREAD[health.state]]
    return [] if health.at else ["The charts begin within a few minutes."]
