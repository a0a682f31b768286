"""Reservations: make, list, follow, extend, swap, release."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from aiohttp import web
from pydantic import AwareDatetime, Field, model_validator
from sqlmodel import col, select

from provisioner.fleet.inventory import Line
from provisioner.rental import booking
from provisioner.service.context import Services
from provisioner.service.http.bearer import Caller
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.http.problems import HttpError
from provisioner.service.http.streams import ServerSentEvent, send_events
from provisioner.service.views.base import Page, PageQuery, page
from provisioner.service.views.certificates import (
    LeaseCertificateView,
    reservation_certificates,
)
from provisioner.service.views.reservations import (
    LeaseState,
    ReservationView,
    reservation_view,
    reservation_views,
)
from provisioner.store.tables import Reservation, ReservationState

_LONGEST_KEY = 200


class NewReservation(Body):
    class_: Line = Field(alias="class")
    image: Line
    duration_s: int
    ssh_keys: list[str] = Field(max_length=50)
    """Identifiers or names of the account's keys; for operators also public key lines."""
    hostname: str = Field(default="", max_length=253)
    user_data: str = ""
    """Run on the first boot; 64 KiB at most."""
    account: str = Field(default="", max_length=200)
    """Operators: identifier or e-mail of the account to reserve for."""


class WantedExtension(Body):
    """One of the two."""

    by_s: int | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one(self) -> "WantedExtension":
        if (self.by_s is None) == (self.until is None):
            raise ValueError("give either by_s or until")
        return self


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
    """Reserve one server from now on; the header Idempotency-Key makes a repetition harmless"""
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
        row = await booking.reserve(session, wanted, call.caller, call.now())
        return await reservation_view(session, row, call.now())


def _duration(seconds: int) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        return timedelta.max if seconds > 0 else timedelta.min  # refused for what it is


async def list_all(call: Call, query: PageQuery) -> Page[ReservationView]:
    """Reservations, the newest first; operators see everybody's"""
    statement = select(Reservation).order_by(col(Reservation.id).desc()).limit(query.fetch)
    if not call.caller.is_operator:
        statement = statement.where(Reservation.account_id == call.caller.account.id)
    if query.cursor is not None:
        statement = statement.where(col(Reservation.id) < query.cursor)
    async with call.services.database.read() as session:
        rows = (await session.exec(statement)).all()
        shown, following = page(query, rows, lambda row: row.id)
        return Page(items=await reservation_views(session, shown, call.now()), next=following)


async def show(call: Call) -> ReservationView:
    """One reservation with its lease and how to log in"""
    return await _current(call.services, call.caller, call.path("id"))


async def extend(call: Call, body: WantedExtension) -> ReservationView:
    """Move the end of a reservation that goes on; Idempotency-Key makes a repetition harmless"""
    async with call.services.database.write() as session:
        row = await booking.extend(
            session,
            call.path("id"),
            call.caller,
            call.now(),
            by=None if body.by_s is None else _duration(body.by_s),
            until=body.until,
            idempotency_key=idempotency_key(call.request),
        )
        return await reservation_view(session, row, call.now())


async def swap(call: Call) -> ReservationView:
    """Get another server for one that is faulty; what is on its disks is lost"""
    async with call.services.database.write() as session:
        row = await booking.swap(session, call.path("id"), call.caller, call.now())
        return await reservation_view(session, row, call.now())


async def release(call: Call) -> ReservationView:
    """Give the server back now; releasing twice is once"""
    async with call.services.database.write() as session:
        row = await booking.release(session, call.path("id"), call.caller, call.now())
        await session.flush()
        return await reservation_view(session, row, call.now())


async def certificates(call: Call) -> Page[LeaseCertificateView]:
    """Erasure certificates from before the lease and after its end"""
    async with call.services.database.read() as session:
        row = await booking.visible_reservation(session, call.path("id"), call.caller)
        return Page(items=await reservation_certificates(session, row.id))


async def events(call: Call) -> web.StreamResponse:
    """Server-sent events: `reservation` with the reservation on every change, to its end"""
    return await stream(call.request, call.services, call.caller, call.path("id"))


async def stream(
    request: web.Request, services: Services, caller: Caller, reservation_id: str
) -> web.StreamResponse:
    """Raises :class:`Refusal` (unknown_reservation) before anything is sent."""
    await _current(services, caller, reservation_id)
    return await send_events(request, _changes(services, caller, reservation_id))


async def _changes(
    services: Services, caller: Caller, reservation_id: str
) -> AsyncIterator[ServerSentEvent | None]:
    last = ""
    while True:
        view = await _current(services, caller, reservation_id)
        data = view.model_dump_json(by_alias=True)
        yield ServerSentEvent("reservation", data) if data != last else None
        last = data
        if _over(view):
            return
        await asyncio.sleep(services.poll_s)


def _over(view: ReservationView) -> bool:
    if view.state not in (ReservationState.ENDED, ReservationState.CANCELLED):
        return False
    return view.lease is None or view.lease.state is LeaseState.ENDED


async def _current(services: Services, caller: Caller, reservation_id: str) -> ReservationView:
    async with services.database.read() as session:
        row = await booking.visible_reservation(session, reservation_id, caller)
        return await reservation_view(session, row, services.clock())
