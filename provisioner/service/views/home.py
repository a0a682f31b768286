"""An operator's home: what needs a person, what can be rented now, and who rents what."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.lifecycle import State
from provisioner.domain.reservations import ACTIVE
from provisioner.service.views.catalogue import ClassView, class_views
from provisioner.service.views.fleet import FleetQuery, count_needs, fleet
from provisioner.service.views.operations import IncidentQuery, IncidentView, incident_page
from provisioner.service.views.reservations import ReservationView, reservation_views
from provisioner.service.views.servers import ServerView
from provisioner.store.tables import Account, Reservation, Server

PAGE = 50
"""Reservations on one page."""
_NEEDS_SHOWN = 8

_LEASED = (State.IMAGING, State.LEASED, State.RECLAIMING)
_OUT = (State.QUARANTINED, State.MAINTENANCE)


class Capacity(NamedTuple):
    """The servers of one class, each counted once, without retired ones."""

    of: ClassView
    leased: int
    """With a customer, on the way to one, or taken back from one."""
    preparing: int
    """In the pool, but not to be handed over now: being wiped or tested, or promised."""
    out_of_service: int
    total: int


class Rented(NamedTuple):
    reservation: ReservationView
    customer: str


class Home(NamedTuple):
    needs: int
    """Servers that need a person."""
    servers: list[ServerView]
    """The first of them."""
    incidents: list[IncidentView]
    """Open and not acknowledged, newest first."""
    capacity: list[Capacity]
    rented: list[Rented]
    total: int
    """Active reservations."""
    pages: int


async def home(session: AsyncSession, number: int, now: datetime) -> Home:
    unread = IncidentQuery(open=True, acknowledged=False, limit=_NEEDS_SHOWN)
    total = (await session.exec(select(func.count()).where(_ACTIVE))).one()
    return Home(
        needs=await count_needs(session),
        servers=(await fleet(session, FleetQuery(needs=True), now)).servers[:_NEEDS_SHOWN],
        incidents=(await incident_page(session, unread)).items,
        capacity=await capacity(session),
        rented=await _rented(session, number, now),
        total=total,
        pages=max(1, -(-total // PAGE)),
    )


async def capacity(session: AsyncSession) -> list[Capacity]:
    """Return what each class has, by name."""
    found = await session.exec(
        select(Server.class_name, Server.state, func.count())
        .where(Server.state != State.RETIRED)
        .group_by(col(Server.class_name), col(Server.state))
    )
    by_class: dict[str, Counter[State]] = {}
    for name, state, count in found.all():
        by_class.setdefault(name, Counter())[State(state)] = count
    return [
        _capacity(view, by_class.get(view.name, Counter())) for view in await class_views(session)
    ]


def _capacity(view: ClassView, states: Counter[State]) -> Capacity:
    leased, out = (sum(states[state] for state in some) for some in (_LEASED, _OUT))
    total = states.total()
    return Capacity(view, leased, total - leased - out - view.free, out, total)


_ACTIVE = col(Reservation.state).in_(ACTIVE)


async def _rented(session: AsyncSession, number: int, now: datetime) -> list[Rented]:
    found = await session.exec(
        select(Reservation, Account.name)
        .join(Account, col(Account.id) == col(Reservation.account_id))
        .where(_ACTIVE)
        .order_by(col(Reservation.ends_at), col(Reservation.id))
        .limit(PAGE)
        .offset((number - 1) * PAGE)
    )
    rows: Sequence[tuple[Reservation, str]] = found.all()
    views = await reservation_views(session, [row for row, _ in rows], now)
    return [Rented(view, name) for view, (_, name) in zip(views, rows, strict=True)]
