"""A customer's requests on a leased server: power, and reinstallation."""

from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.catalogue.images import image_named
from provisioner.domain.access import Actor
from provisioner.domain.lifecycle import RequestVerb
from provisioner.domain.refusals import Refusal, RefusalKind
from provisioner.domain.reservations import ON_LEASE
from provisioner.fleet import requests
from provisioner.rental.booking import check_user_data
from provisioner.rental.reservations import locked_reservation, open_lease
from provisioner.store import audit
from provisioner.store.tables import ServerRequest


async def request(
    session: AsyncSession,
    reservation_id: str,
    verb: RequestVerb,
    *,
    image: str = "",
    reason: str = "",
    actor: Actor,
    now: datetime,
) -> ServerRequest:
    """Request work on a reservation's server. `image` is for a reinstallation and defaults to the
    reservation's own. Raises :class:`Refusal` (unknown_reservation, not_ready, request_refused,
    unknown_image, bad_user_data, too_many_requests)."""
    reservation = await locked_reservation(session, reservation_id, actor)
    if verb not in ON_LEASE:
        raise Refusal(
            RefusalKind.CONFLICT,
            "request_refused",
            f"{verb.value!r} cannot be requested on a leased server",
            next_action=f"request one of: {', '.join(ON_LEASE)}",
        )
    lease = await open_lease(session, reservation.id)
    if lease is not None:
        await session.refresh(lease)
    if lease is None or lease.ready_at is None or lease.ends_at <= now:
        raise Refusal(
            RefusalKind.CONFLICT,
            "not_ready",
            f"{reservation_id} has no server that is ready for use",
            next_action="check whether it is still being prepared, or is over",
        )
    arguments: dict[str, Any] = audit.why(reason)
    if verb is RequestVerb.REINSTALL:
        arguments["image_id"] = reservation.image_id
        if image:
            wanted = await image_named(session, image)
            if wanted.id != reservation.image_id:
                check_user_data(reservation.user_data, wanted, "/image")
            arguments["image_id"] = wanted.id
    row = await requests.file(
        session, lease.server_id, verb, arguments, lease_id=lease.id, actor=actor, now=now
    )
    audit.record(
        session,
        actor,
        "reservation.request",
        reservation.id,
        now,
        verb=verb.value,
        request=row.id,
        **arguments,
    )
    return row
