"""A reservation as its customer sees it: the lease, its progress, how to log in."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from pydantic import Field
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.accounts.accounts import names_of
from provisioner.domain.access import Actor, Permission
from provisioner.domain.lifecycle import Step, StepOutcome
from provisioner.domain.reservations import (
    LeaseEndReason,
    ReservationAction,
    ReservationState,
    Standing,
    allowed_actions,
)
from provisioner.rental.binder import open_delays
from provisioner.rental.reservations import visible_reservation
from provisioner.service.context import Services
from provisioner.service.views.base import MatchQuery, Page, View, begins, page, seconds_between
from provisioner.service.views.lease_health import LeaseIncidentView, open_incidents
from provisioner.service.views.phases import TITLES
from provisioner.service.views.requests import RequestView, last_requests_of_leases, request_view
from provisioner.store.tables import (
    Image,
    Lease,
    Operation,
    Reservation,
    Server,
    ServerRequest,
    StepRecord,
)


class LeaseState(StrEnum):
    """Where a lease is in its lifecycle."""

    PREPARING = "preparing"
    READY = "ready"
    ENDING = "ending"
    ENDED = "ended"
    STOPPED = "stopped"


class ReservationStatus(StrEnum):
    """Where a reservation stands, in one word."""

    WAITING = "waiting"
    DELAYED = "delayed"
    PREPARING = "preparing"
    READY = "ready"
    STOPPED = "stopped"
    FAULTY = "faulty"
    ENDING = "ending"
    ENDED = "ended"
    CANCELLED = "cancelled"


class PhaseView(View, title="Phase"):
    """One step of preparing or reclaiming the server."""

    step: Step
    """The step."""
    title: str
    """What happens in the step, in words."""
    started_at: datetime
    """When the step began."""
    ended_at: datetime | None
    """When the step ended. Null while it runs."""
    seconds: float | None
    """Duration in seconds. Null while it runs."""


class LeaseView(View, title="Lease"):
    """The server of a reservation, and how to log in to it."""

    id: str
    """Identifier of the lease."""
    server: str
    """Name of the server."""
    state: LeaseState
    """Where the lease is in its lifecycle."""
    step: Step | None
    """Step that is running on the server. Null if there is none."""
    ready_at: datetime | None
    """When the server was handed over. Null until it is ready."""
    ends_at: datetime
    """When access ends."""
    ended_at: datetime | None
    """When access was confirmed to have ended. Null until then."""
    address: str
    """IP address of the server."""
    user: str
    """User to log in as."""
    host_key: str
    """The server's SSH host key, known before the first connection. Empty until it is issued."""
    ssh_command: str
    """Command to log in. Empty unless the server is ready."""
    known_hosts: str
    """Line for `~/.ssh/known_hosts`. Empty until the host key is issued."""
    stopped_at: datetime | None
    """When the server was switched off on request. Null while it runs."""
    phases: list[PhaseView]
    """Steps so far, in order."""
    incidents: list[LeaseIncidentView]
    """Open faults of the server."""
    last_request: RequestView | None
    """Newest request to start, stop, reboot, power cycle or reinstall the server. Null if there is
    none."""


class ReservationView(View, title="Reservation"):
    """A server that is reserved for a period."""

    id: str
    """Identifier of the reservation."""
    class_: str = Field(alias="class")
    """Class of server."""
    image: str
    """Name of the image that is installed."""
    state: ReservationState
    """Whether the reservation has a server, waits for one, or is over."""
    status: ReservationStatus
    """Where the reservation stands, in one word. `faulty` while its server has an open fault."""
    starts_at: datetime
    """Start of the period."""
    ends_at: datetime
    """End of the period."""
    created_at: datetime
    """When the reservation was made."""
    released_at: datetime | None
    """When the server was given back early. Null if it was not."""
    hostname: str
    """Host name of the server."""
    account: str
    """Identifier of the account that the reservation belongs to."""
    customer: str
    """Name of that account."""
    delayed_since: datetime | None
    """Since when the reservation has been waiting because its server failed and no other is free.
    Null otherwise."""
    lease: LeaseView | None
    """The newest lease. Null until a server is bound."""
    allowed_actions: list[ReservationAction]
    """What can be done with the reservation now."""

    @property
    def is_over(self) -> bool:
        """Whether it no longer changes: it has ended, and access to its server is gone."""
        return self.state.is_over and (self.lease is None or self.lease.state is LeaseState.ENDED)

    @property
    def in_progress(self) -> bool:
        """Whether it changes soon by itself, rather than by its customer's or its end."""
        if self.lease is None:
            return not self.state.is_over
        return (
            self.lease.state in (LeaseState.PREPARING, LeaseState.ENDING)
            or self.lease.step is not None
            or self.state is ReservationState.WAITING
        )


async def reservation_views(
    session: AsyncSession, rows: Sequence[Reservation], now: datetime
) -> list[ReservationView]:
    """Return the views of these rows, in order, each with its newest lease."""
    images = await session.exec(
        select(Image).where(col(Image.id).in_({row.image_id for row in rows}))
    )
    image_of = {image.id: image for image in images.all()}
    customers = await names_of(session, {row.account_id for row in rows})
    found = await session.exec(
        select(Lease, Server)
        .join(Server, col(Server.id) == col(Lease.server_id))
        .where(col(Lease.reservation_id).in_([row.id for row in rows]))
        .order_by(col(Lease.bound_at), col(Lease.id))
    )
    rows_found = found.all()
    lease_of = {lease.reservation_id: (lease, server) for lease, server in rows_found}
    swapped = {
        lease.reservation_id
        for lease, _ in rows_found
        if lease.end_reason is LeaseEndReason.MOVED and lease.ready_at is not None
    }
    leases = [lease.id for lease, _ in lease_of.values()]
    records = await _records(session, leases)
    incidents = await open_incidents(session, leases)
    last_requests = await last_requests_of_leases(session, leases)
    delayed_since = await open_delays(session, [row.id for row in rows])

    views = []
    for row in rows:
        image = image_of[row.image_id]
        lease, server = lease_of.get(row.id, (None, None))
        views.append(
            ReservationView(
                id=row.id,
                class_=row.class_name,
                image=image.name,
                state=row.state,
                status=_status(
                    row.state,
                    lease_state(lease, now) if lease else None,
                    delayed=row.id in delayed_since,
                    faulty=lease is not None and bool(incidents.get(lease.id)),
                ),
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                created_at=row.created_at,
                released_at=row.released_at,
                hostname=row.hostname,
                account=row.account_id,
                customer=customers[row.account_id],
                delayed_since=delayed_since.get(row.id),
                lease=_lease_view(
                    lease,
                    server,
                    image,
                    records[lease.id],
                    incidents=incidents.get(lease.id, []),
                    last_request=last_requests.get(lease.id),
                    now=now,
                )
                if lease and server
                else None,
                allowed_actions=allowed_actions(
                    Standing(
                        row.state,
                        row.ends_at,
                        row.released_at,
                        faulty=lease is not None
                        and bool(incidents.get(lease.id))
                        and row.id not in swapped,
                        handed_over=lease is not None
                        and lease_state(lease, now) in (LeaseState.READY, LeaseState.STOPPED),
                        stopped=lease is not None and lease.stopped_at is not None,
                    ),
                    now,
                ),
            )
        )
    return views


async def reservation_view(
    session: AsyncSession, row: Reservation, now: datetime
) -> ReservationView:
    return (await reservation_views(session, [row], now))[0]


async def reservation_page(
    session: AsyncSession, query: MatchQuery, actor: Actor, now: datetime
) -> Page[ReservationView]:
    """Return the reservations that the actor may see, newest first."""
    statement = select(Reservation).order_by(col(Reservation.id).desc()).limit(query.fetch)
    if not actor.may(Permission.SEE_ALL):
        statement = statement.where(Reservation.account_id == actor.account_id)
    if query.match is not None:
        statement = statement.where(
            or_(begins(Reservation.id, query.match), Reservation.hostname == query.match.lower())
        )
    if query.cursor is not None:
        statement = statement.where(col(Reservation.id) < query.cursor)
    rows = (await session.exec(statement)).all()
    shown, following = page(query, rows, lambda row: row.id)
    return Page(items=await reservation_views(session, shown, now), next=following)


async def reservations_of(
    session: AsyncSession, account_id: str, limit: int, now: datetime
) -> list[ReservationView]:
    """An account's own, the newest first."""
    found = await session.exec(
        select(Reservation)
        .where(Reservation.account_id == account_id)
        .order_by(col(Reservation.id).desc())
        .limit(limit)
    )
    return await reservation_views(session, found.all(), now)


async def current_reservation(
    services: Services, actor: Actor, reservation_id: str
) -> ReservationView:
    """As it is at this moment. Raises :class:`Refusal` (unknown_reservation)."""
    async with services.database.read() as session:
        row = await visible_reservation(session, reservation_id, actor)
        return await reservation_view(session, row, services.clock())


async def _records(session: AsyncSession, lease_ids: Sequence[str]) -> dict[str, list[StepRecord]]:
    found = await session.exec(
        select(Operation.lease_id, StepRecord)
        .join(Operation, col(Operation.id) == col(StepRecord.operation_id))
        .where(col(Operation.lease_id).in_(lease_ids))
        .order_by(col(StepRecord.started_at), col(StepRecord.id))
    )
    records: dict[str, list[StepRecord]] = defaultdict(list)
    for lease_id, record in found.all():
        if lease_id is not None:
            records[lease_id].append(record)
    return records


def lease_state(lease: Lease, now: datetime) -> LeaseState:
    if lease.ended_at is not None:
        return LeaseState.ENDED
    if lease.ends_at <= now:
        return LeaseState.ENDING
    if lease.ready_at is None:
        return LeaseState.PREPARING
    return LeaseState.READY if lease.stopped_at is None else LeaseState.STOPPED


def _status(
    state: ReservationState, lease: LeaseState | None, *, delayed: bool, faulty: bool
) -> ReservationStatus:
    if delayed:
        return ReservationStatus.DELAYED
    if lease is None or state is ReservationState.WAITING:
        return ReservationStatus(state.value)
    if faulty and lease in (LeaseState.READY, LeaseState.STOPPED):
        return ReservationStatus.FAULTY
    return ReservationStatus(lease.value)


def _lease_view(
    lease: Lease,
    server: Server,
    image: Image,
    records: Sequence[StepRecord],
    *,
    incidents: list[LeaseIncidentView],
    last_request: ServerRequest | None,
    now: datetime,
) -> LeaseView:
    state = lease_state(lease, now)
    user = str(image.boot.get("user", "root"))
    return LeaseView(
        id=lease.id,
        server=server.name,
        state=state,
        step=next((r.step for r in reversed(records) if r.ended_at is None), None),
        ready_at=lease.ready_at,
        ends_at=lease.ends_at,
        ended_at=lease.ended_at,
        stopped_at=lease.stopped_at,
        address=server.address,
        user=user,
        host_key=lease.host_key,
        ssh_command=f"ssh {user}@{server.address}" if state is LeaseState.READY else "",
        known_hosts=f"{server.address} {lease.host_key}" if lease.host_key else "",
        phases=[
            PhaseView(
                step=record.step,
                title=TITLES[record.step],
                started_at=record.started_at,
                ended_at=record.ended_at,
                seconds=seconds_between(record.started_at, record.ended_at),
            )
            for record in records
            if record.outcome is not StepOutcome.SKIPPED
        ],
        incidents=incidents,
        last_request=request_view(last_request, server.name) if last_request else None,
    )
