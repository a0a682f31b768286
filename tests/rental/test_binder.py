"""A reservation whose server fails is bound to the next free one, or ends, and its customer is
notified."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from webhook_site import Site
from world import CLASS, World

from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import RequestVerb, State
from provisioner.domain.reservations import ReservationState
from provisioner.rental.binder import Binder
from provisioner.rental.reservations import lock_class
from provisioner.service.views.reservations import ReservationView, reservation_view
from provisioner.store.database import Database
from provisioner.store.tables import Incident, Reservation


class Queue(Site):
    """A world with a customer who waits for a server."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.binder = Binder(world.database, clock=world.clock)

    async def wait(self, hours: float = 4) -> Reservation:
        """A reservation whose server, the only one, is quarantined before it was prepared."""
        reservation = await self.world.reserve(hours=hours)
        await self.world.request(RequestVerb.QUARANTINE)
        await self.world.reconciler.settle()
        assert await self.world.state() is State.QUARANTINED
        return reservation

    async def repair(self) -> None:
        """The server is available again, and nobody noticed."""
        async with self.world.database.write() as session:
            server = await self.world.server()
            server.state = State.AVAILABLE
            await session.merge(server)

    async def delays(self) -> list[Incident]:
        return [i for i in await self.world.incidents() if i.kind is IncidentKind.DELAYED]

    async def delay(self) -> Incident:
        (incident,) = await self.delays()
        return incident

    async def state(self, reservation: Reservation) -> ReservationState:
        return await self.world.reservation_state(reservation.id)

    async def view(self, reservation: Reservation) -> ReservationView:
        async with self.world.database.read() as session:
            row = await session.get_one(Reservation, reservation.id)
            return await reservation_view(session, row, self.world.clock())


@pytest.fixture
async def queue(world: World) -> Queue:
    queue = Queue(world)
    await queue.set_webhook()
    return queue


@pytest.fixture
async def any_queue(any_database: Database, tmp_path: Path) -> AsyncIterator[Queue]:
    """The same on each kind of database."""
    world = World(any_database, tmp_path)
    await world.enrol()
    queue = Queue(world)
    await queue.set_webhook()
    await queue.repair()
    yield queue


async def test_a_wait_opens_an_incident_at_once_and_ends_at_the_reservations_end(
    any_queue: Queue,
) -> None:
    reservation = await any_queue.world.reserve(hours=4)
    (lease,) = await any_queue.world.leases()
    async with any_queue.world.database.write() as session:
        row = await session.get_one(Reservation, reservation.id)
        row.state = ReservationState.WAITING
        await session.delete(lease)
        server = await any_queue.world.server()
        server.state = State.QUARANTINED
        await session.merge(server)
    await any_queue.binder.settle()
    incident = await any_queue.delay()
    assert incident.reservation_id == reservation.id
    assert reservation.id in incident.reason
    assert CLASS in incident.reason
    assert "rackctl" in incident.next_action
    any_queue.world.clock.turn(hours=5)
    await any_queue.binder.settle()
    assert await any_queue.state(reservation) is ReservationState.ENDED
    assert await any_queue.delays() == []


async def test_a_reservation_whose_server_is_quarantined_is_told_of(queue: Queue) -> None:
    reservation = await queue.wait(hours=4)
    await queue.binder.settle()
    assert (await queue.delay()).reservation_id == reservation.id
    queue.world.clock.turn(hours=5)
    await queue.binder.settle()
    assert await queue.state(reservation) is ReservationState.ENDED
    assert await queue.delays() == []


async def test_a_reservation_that_waits_is_bound_as_soon_as_a_server_is_there(
    queue: Queue,
) -> None:
    reservation = await queue.wait()
    await queue.binder.settle()
    await queue.repair()
    await queue.binder.settle()
    assert await queue.state(reservation) is ReservationState.BOUND
    assert await queue.delays() == []


async def test_an_incident_is_closed_when_another_process_bound_the_reservation(
    queue: Queue,
) -> None:
    reservation = await queue.wait()
    await queue.binder.settle()
    await queue.world.request(RequestVerb.REPAIRED)
    await queue.world.settle()
    assert await queue.state(reservation) is ReservationState.BOUND
    await queue.binder.settle()
    assert await queue.delays() == []


async def test_an_incident_is_closed_when_the_reservation_is_given_back(queue: Queue) -> None:
    reservation = await queue.wait()
    await queue.binder.settle()
    await queue.world.release(reservation)
    await queue.binder.settle()
    assert await queue.delays() == []


async def test_the_customer_is_told_once_by_webhook(queue: Queue) -> None:
    reservation = await queue.wait()
    for _ in range(3):
        await queue.binder.settle()
        await queue.turn(minutes=1)
    assert queue.receiver.told() == ["reservation.delayed"]
    data = json.loads(queue.receiver.got[0][1])["data"]
    assert data["reservation"] == reservation.id
    assert data["hostname"] == "train-1"
    assert data["ends_at"] == reservation.ends_at.isoformat()


async def test_a_second_delay_is_told_too(queue: Queue) -> None:
    await queue.wait()
    await queue.binder.settle()
    await queue.repair()
    await queue.binder.settle()
    await queue.world.request(RequestVerb.QUARANTINE)
    await queue.world.reconciler.settle()
    await queue.binder.settle()
    await queue.turn()
    assert queue.receiver.told() == ["reservation.delayed"] * 2


async def test_the_customer_sees_since_when_it_is_delayed(queue: Queue) -> None:
    reservation = await queue.wait()
    assert (await queue.view(reservation)).delayed_since is None
    await queue.binder.settle()
    assert (await queue.view(reservation)).delayed_since == (await queue.delay()).opened_at
    await queue.repair()
    await queue.binder.settle()
    assert (await queue.view(reservation)).delayed_since is None


async def test_several_reservations_wait_each_with_an_incident_and_end_each_at_its_end(
    queue: Queue,
) -> None:
    """The first of the queue gets no server either: that keeps nobody behind it from ending."""
    first = await queue.wait(hours=4)
    async with queue.world.database.write() as session:
        second = Reservation(**{**first.model_dump(exclude={"id"}), "hostname": "train-2"})
        second.state = ReservationState.WAITING
        second.created_at = queue.world.clock()
        second.ends_at = second.starts_at + (first.ends_at - first.starts_at) / 2
        session.add(second)
    await queue.binder.settle()
    assert {i.reservation_id for i in await queue.delays()} == {first.id, second.id}
    queue.world.clock.turn(hours=3)
    await queue.binder.settle()
    assert await queue.state(first) is ReservationState.WAITING
    assert await queue.state(second) is ReservationState.ENDED
    assert (await queue.delay()).reservation_id == first.id


async def test_a_reservation_that_is_served_is_no_delay(queue: Queue) -> None:
    await queue.world.reserve(hours=1)
    await queue.binder.settle()
    assert await queue.delays() == []


async def test_two_binders_tell_of_a_wait_once(any_queue: Queue) -> None:
    await any_queue.wait()
    other = Binder(any_queue.world.database, clock=any_queue.world.clock)
    async with any_queue.world.database.write() as session:
        await lock_class(session, CLASS)
    await any_queue.binder.settle()
    await other.settle()
    assert len(await any_queue.delays()) == 1
