"""The form to extend a reservation, on a separate page because a lease's page updates itself."""

import secrets

from aiohttp import web

from provisioner.domain.access import Permission
from provisioner.domain.refusals import Refusal
from provisioner.rental import extension
from provisioner.service.views.reservations import current_reservation
from provisioner.service.web.render import page
from provisioner.service.web.reserve import UNITS, duration_of
from provisioner.service.web.session import Visitor, checked_form, page_for

_DEFAULTS = {"amount": "2", "unit": "hours"}


@page_for(Permission.RENT)
async def form(request: web.Request, who: Visitor) -> web.StreamResponse:
    return await _page(request, who, _DEFAULTS)


@page_for(Permission.RENT)
async def submit(request: web.Request, who: Visitor) -> web.StreamResponse:
    fields = await checked_form(request, who.session)
    reservation_id = request.match_info["id"]
    try:
        async with who.services.database.write() as session:
            await extension.extend(
                session,
                reservation_id,
                actor=who.actor,
                now=who.services.clock(),
                by=duration_of(fields, "/by_s"),
                idempotency_key=fields.get("idempotency_key", "")[:100] or None,
                quota=who.services.quota,
            )
    except Refusal as refusal:
        return await _page(request, who, {**_DEFAULTS, **fields}, refusal)
    raise web.HTTPSeeOther(f"/reservations/{reservation_id}")


async def _page(
    request: web.Request, who: Visitor, fields: dict[str, str], refusal: Refusal | None = None
) -> web.Response:
    view = await current_reservation(who.services, who.actor, request.match_info["id"])
    return page(
        request,
        "extend.html",
        who,
        status=422 if refusal else 200,
        reservation=view,
        units=UNITS,
        fields=fields,
        idempotency_key=secrets.token_urlsafe(16),
        refusal=refusal,
        errors={fault.pointer.strip("/"): fault.reason for fault in refusal.faults}
        if refusal
        else {},
    )
