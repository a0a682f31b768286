"""The form to reserve a server. A mistake keeps the input and shows what to correct."""

import re
import secrets
from collections import defaultdict
from datetime import timedelta

from aiohttp import web

from provisioner.accounts import ssh_keys
from provisioner.domain.access import Permission
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.rental import booking
from provisioner.service.views.accounts import ssh_key_view
from provisioner.service.views.catalogue import class_views, image_views
from provisioner.service.web.keys import key_name
from provisioner.service.web.render import page
from provisioner.service.web.session import Form, Visitor, checked_form, page_for
from provisioner.store.tables import Reservation

UNITS = {"minutes": 60, "hours": 3600, "days": 86400}
_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_DEFAULTS = {"amount": "2", "unit": "hours"}


@page_for(Permission.RENT)
async def form(request: web.Request, who: Visitor) -> web.StreamResponse:
    fields = {**_DEFAULTS, "class": request.query.get("class", "")}
    return await _page(request, who, {**fields, "idempotency_key": secrets.token_urlsafe(16)})


@page_for(Permission.RENT)
async def submit(request: web.Request, who: Visitor) -> web.StreamResponse:
    fields = await checked_form(request, who.session)
    try:
        reservation = await _reserve(fields, who)
    except Refusal as refusal:
        return await _page(request, who, dict(fields), fields.getall("ssh_keys", []), refusal)
    raise web.HTTPSeeOther(f"/reservations/{reservation.id}")


async def _reserve(fields: Form, who: Visitor) -> Reservation:
    """A key added in the same form is stored only if the reservation is made."""
    now = who.services.clock()
    async with who.services.database.write() as session:
        chosen = list(fields.getall("ssh_keys", []))
        if fields.get("public_key", "").strip():
            key = await ssh_keys.add_key(
                session,
                key_name(fields),
                fields["public_key"],
                actor=who.actor,
                now=now,
            )
            chosen.append(key.id)
        wanted = booking.Request(
            class_name=fields.get("class", ""),
            image=fields.get("image", ""),
            duration=duration_of(fields, "/duration_s"),
            ssh_keys=chosen,
            hostname=fields.get("hostname", "").strip(),
            # Browsers send line ends as CRLF, which breaks a script's first line.
            user_data=fields.get("user_data", "").replace("\r\n", "\n"),
            idempotency_key=fields.get("idempotency_key", "")[:100] or None,
        )
        return await booking.reserve(
            session, wanted, actor=who.actor, now=now, quota=who.services.quota
        )


def duration_of(fields: Form, pointer: str) -> timedelta:
    """The duration from `amount` and `unit`. Raises :class:`Refusal` (bad_duration)."""
    amount, unit = fields.get("amount", "").strip(), fields.get("unit", "")
    try:
        if not _AMOUNT.fullmatch(amount):
            raise ValueError("not written in digits")
        seconds = float(amount) * UNITS[unit]
        return timedelta(seconds=round(seconds))
    except (ValueError, KeyError, OverflowError) as error:
        reason = "enter a number, such as 2, and a unit"
        raise Refusal(
            RefusalKind.INVALID,
            "bad_duration",
            f"the duration {amount[:20]!r} is not a number",
            faults=(Fault(pointer, reason),),
        ) from error


async def _page(
    request: web.Request,
    who: Visitor,
    fields: dict[str, str],
    chosen: list[str] | None = None,
    refusal: Refusal | None = None,
) -> web.Response:
    async with who.services.database.read() as session:
        classes = await class_views(session)
        images = await image_views(session)
        keys = await ssh_keys.keys_of(session, who.account.id)
    known = {key.id for key in keys}
    return page(
        request,
        "reserve.html",
        who,
        status=422 if refusal else 200,
        classes=classes,
        images=images,
        keys=[ssh_key_view(row) for row in keys],
        chosen=known if chosen is None else known & set(chosen),
        units=UNITS,
        fields=defaultdict(str, fields),
        refusal=refusal,
        # `/ssh_keys/2` belongs to the field `ssh_keys`.
        errors={f.pointer.split("/")[1]: f.reason for f in refusal.faults} if refusal else {},
    )
