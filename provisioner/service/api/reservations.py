"""Reservations: make, list, follow, extend, swap, release."""

from datetime import timedelta
from functools import partial

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from provisioner.fleet.inventory import Line
from provisioner.rental import booking, extension, reservations
from provisioner.rental import swap as swaps
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.http.problems import HttpError
from provisioner.service.http.streams import send_changes
from provisioner.service.views.base import MatchQuery, Page
from provisioner.service.views.certificates import (
    LeaseCertificateView,
    reservation_certificates,
)
from provisioner.service.views.reservations import (
    ReservationView,
    current_reservation,
    reservation_page,
    reservation_view,
)

_LONGEST_KEY = 200


class NewReservation(
    Body,
    title="NewReservation",
    json_schema_extra={
        "examples": [
            {
                "class": "8x-h100-80gb",
                "image": "debian-12",
                "duration_s": 7200,
                "ssh_keys": ["laptop"],
            }
        ]
    },
):
    """A server to reserve from now on."""

    class_: Line = Field(alias="class")
    """Class of server."""
    image: Line
    """Name of the image to install."""
    duration_s: int
    """Duration in seconds, from 60 seconds to 366 days."""
    ssh_keys: list[str] = Field(max_length=50)
    """Identifiers or names of the account's keys. Operators may also give public key lines."""
    hostname: str = Field(default="", max_length=253)
    """Host name of the server. Empty for a random one."""
    user_data: str = ""
    """What to run on the first boot, up to 64 KiB: a script that begins with `#!`, or a format of
    cloud-init such as `#cloud-config` if the image has it. Anything else is refused."""
    account: str = Field(default="", max_length=200)
    """Identifier or e-mail address of the account to reserve for. Operators only."""


class WantedExtension(Body, title="NewExtension", json_schema_extra={"examples": [{"by_s": 7200}]}):
    """How much longer a reservation should last. Give either `by_s` or `until`."""

    by_s: int | None = None
    """Seconds to add to the reservation's end."""
    until: AwareDatetime | None = None
    """New end of the reservation."""

    @model_validator(mode="after")
    def _one(self) -> "WantedExtension":
        if (self.by_s is None) == (self.until is None):
            raise ValueError("give either by_s or until")
        return self


class ReasonQuery(BaseModel):
    """Why an operator takes something from a customer."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    reason: str = Field(default="", max_length=1000)
    """Why, for the audit trail."""


def idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and (not key.isprintable() or not 0 < len(key) <= _LONGEST_KEY):
        raise HttpError(
            422,
            "bad_idempotency_key",
            f"an Idempotency-Key is 1 to {_LONGEST_KEY} printable characters",
        )
    return key


async def create(call: Call, body: NewReservation) -> ReservationView:
    """Reserve a server from now on."""
    wanted = booking.Request(
        class_name=body.class_,
        image=body.image,
        duration=_duration(body.duration_s),
        ssh_keys=body.ssh_keys,
        hostname=body.hostname,
        user_data=body.user_data,
        account=body.account,
        idempotency_key=idempotency_key(call.request),
    )
    async with call.services.database.write() as session:
        row = await booking.reserve(
            session, wanted, actor=call.actor, now=call.now(), quota=call.services.quota
        )
        return await reservation_view(session, row, call.now())


def _duration(seconds: int) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        return timedelta.max if seconds > 0 else timedelta.min  # refused as out of range


async def list_all(call: Call, query: MatchQuery) -> Page[ReservationView]:
    """List reservations, newest first.

    Operators see those of all accounts.
    """
    async with call.services.database.read() as session:
        return await reservation_page(session, query, call.actor, call.now())


async def show(call: Call) -> ReservationView:
    """Show a reservation, its lease, and how to log in."""
    return await current_reservation(call.services, call.actor, call.path("id"))


async def extend(call: Call, body: WantedExtension) -> ReservationView:
    """Extend a reservation that is not over."""
    async with call.services.database.write() as session:
        row = await extension.extend(
            session,
            call.path("id"),
            actor=call.actor,
            now=call.now(),
            by=None if body.by_s is None else _duration(body.by_s),
            until=body.until,
            idempotency_key=idempotency_key(call.request),
            quota=call.services.quota,
        )
        return await reservation_view(session, row, call.now())


async def swap(call: Call, query: ReasonQuery) -> ReservationView:
    """Replace a faulty server with another one.

    All data on the faulty server's disks is lost.
    """
    async with call.services.database.write() as session:
        row = await swaps.swap(
            session, call.path("id"), reason=query.reason, actor=call.actor, now=call.now()
        )
        return await reservation_view(session, row, call.now())


async def release(call: Call, query: ReasonQuery) -> ReservationView:
    """Give the server back now.

    A reservation that is already over is not changed.
    """
    async with call.services.database.write() as session:
        row = await reservations.release(
            session, call.path("id"), reason=query.reason, actor=call.actor, now=call.now()
        )
        await session.flush()
        return await reservation_view(session, row, call.now())


async def certificates(call: Call) -> Page[LeaseCertificateView]:
    """List the erasure certificates from before and after the lease."""
    async with call.services.database.read() as session:
        row = await reservations.visible_reservation(session, call.path("id"), call.actor)
        return Page(items=await reservation_certificates(session, row.id))


async def events(call: Call) -> web.StreamResponse:
    """Follow a reservation to its end.

    Server-sent events: `reservation` on every change, with the whole reservation.
    """
    return await send_changes(
        call.request,
        call.actor.account_id,
        "reservation",
        partial(current_reservation, call.services, call.actor, call.path("id")),
        over=lambda view: view.is_over,
        poll_s=call.services.poll_s,
    )
