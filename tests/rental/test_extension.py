"""Extending: the reconciler follows, expiry and extension race, capacity holds."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from world import CUSTOMER, World

from provisioner.domain.lifecycle import State
from provisioner.domain.refusals import Refusal
from provisioner.lifecycle import reconciler
from provisioner.rental.extension import extend
from provisioner.store.claims import Claims
from provisioner.store.database import Database
from provisioner.store.tables import Reservation, Server

TTL = timedelta(seconds=30)


async def extended(
    world: World,
    reservation: Reservation,
    by: timedelta | None = timedelta(hours=1),
    *,
    until: datetime | None = None,
    now: datetime | None = None,
    key: str | None = None,
) -> Reservation:
    async with world.database.write() as session:
        return await extend(
            session,
            reservation.id,
            by=None if until else by,
            until=until,
            actor=CUSTOMER,
            now=now or world.clock(),
            idempotency_key=key,
        )


@pytest.fixture
async def leased(world: World) -> tuple[World, Reservation]:
    reservation = await world.reserve(hours=1)
    await world.settle()
    assert await world.state() is State.LEASED
    return world, reservation


async def test_an_extended_lease_goes_on_past_its_first_end_and_ends_at_the_new_one(
    leased: tuple[World, Reservation],
) -> None:
    world, reservation = leased
    row = await extended(world, reservation)
    (lease,) = await world.leases(reservation)
    assert row.ends_at == lease.ends_at == reservation.ends_at + timedelta(hours=1)
    assert lease.sequence == 2
    await world.turn(minutes=61)
    await world.settle()
    assert await world.state() is State.LEASED
    await world.turn(hours=1)
    await world.reconciler.settle()
    assert await world.state() is not State.LEASED


async def test_an_extension_before_the_end_wins_over_a_reconciler_that_saw_the_end(
    leased: tuple[World, Reservation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the reconciler found the lease over, and before it took the locks."""
    world, reservation = leased
    just_before = reservation.ends_at - timedelta(milliseconds=1)
    await world.turn(hours=1)
    look, looks = reconciler.due, []

    def looking(*arguments: object) -> object:
        found = look(*arguments)  # type: ignore[arg-type]
        looks.append(found)
        return found

    async def load_then_extend(session: object, server_id: str) -> object:
        snapshot = await load(session, server_id)  # type: ignore[arg-type]
        if not looks:
            await extended(world, reservation, now=just_before)
        return snapshot

    load = reconciler.load
    monkeypatch.setattr(reconciler, "due", looking)
    monkeypatch.setattr(reconciler, "load", load_then_extend)
    await world.nudge()
    await world.reconciler.settle()
    assert looks[0] is not None, "the reconciler saw the lease over"
    assert looks[1] is None, "and found it extended once it had the locks"
    assert await world.state() is State.LEASED


async def test_an_extension_after_the_end_is_refused(leased: tuple[World, Reservation]) -> None:
    world, reservation = leased
    await world.turn(hours=1)
    with pytest.raises(Refusal, match="is over") as refused:
        await extended(world, reservation)
    assert refused.value.code == "reservation_over"


async def test_an_extension_that_waited_while_the_server_was_taken_back_is_refused(
    leased: tuple[World, Reservation],
) -> None:
    """It read the clock before the end and had the lock after the transition."""
    world, reservation = leased
    asked_at = reservation.ends_at - timedelta(milliseconds=1)
    await world.turn(hours=1)
    await world.reconciler.settle()
    assert await world.state() is not State.LEASED
    with pytest.raises(Refusal, match="is over"):
        await extended(world, reservation, now=asked_at)
    await world.settle()
    assert await world.state() is State.AVAILABLE


async def test_an_extension_during_a_pass_has_the_reconciler_look_again(
    leased: tuple[World, Reservation],
) -> None:
    world, reservation = leased
    await world.nudge()
    (claim,) = await Claims(world.database, Server, ttl=TTL).claim_due(world.clock(), 1)
    await extended(world, reservation)
    await world.reconciler.pass_over(claim)
    assert (await world.server()).due_at == datetime(1970, 1, 1, tzinfo=world.clock().tzinfo)
    await world.reconciler.settle()
    assert (await world.server()).due_at == reservation.ends_at + timedelta(hours=1)


async def test_a_released_reservation_is_not_extended(leased: tuple[World, Reservation]) -> None:
    world, reservation = leased
    await world.release(reservation)
    with pytest.raises(Refusal, match="is over"):
        await extended(world, reservation)


async def test_the_same_key_extends_once_and_is_of_one_request(
    leased: tuple[World, Reservation],
) -> None:
    world, reservation = leased
    first = await extended(world, reservation, key="k")
    again = await extended(world, reservation, key="k")
    assert first.ends_at == again.ends_at
    with pytest.raises(Refusal, match="used for another extension"):
        await extended(world, reservation, timedelta(hours=2), key="k")


async def test_until_the_present_end_is_nothing_to_do_and_before_it_is_refused(
    leased: tuple[World, Reservation],
) -> None:
    world, reservation = leased
    await extended(world, reservation, until=reservation.ends_at)
    assert (await world.leases(reservation))[0].sequence == 1
    with pytest.raises(Refusal, match="later than the current one"):
        await extended(world, reservation, until=reservation.ends_at - timedelta(minutes=1))


@pytest.mark.parametrize("by", [timedelta(days=366), timedelta.max, timedelta.min, timedelta()])
async def test_a_length_that_no_reservation_may_have_is_refused(
    leased: tuple[World, Reservation], by: timedelta
) -> None:
    world, reservation = leased
    with pytest.raises(Refusal) as refused:
        await extended(world, reservation, by)
    assert refused.value.code == "bad_extension"


async def test_a_server_that_left_the_pool_is_missing_for_extensions(two_servers: World) -> None:
    world = two_servers
    first = await world.reserve(hours=1)
    second = await world.reserve(hours=5)
    await world.settle()
    (other,) = await world.leases(second)
    async with world.database.write() as session:
        server = await session.get_one(Server, other.server_id)
        server.state = State.QUARANTINED
    with pytest.raises(Refusal) as refused:
        await extended(world, first, timedelta(hours=3))
    assert refused.value.code == "no_capacity"
    assert second.ends_at > first.ends_at


async def test_a_reservation_that_moved_can_be_extended_and_released(two_servers: World) -> None:
    """Its first server is still being taken back: the lease there does not count."""
    world = two_servers
    reservation = await world.reserve(hours=5)
    (first,) = await world.leases(reservation)
    bound = next(
        n for n, server in enumerate(await world.servers()) if server.id == first.server_id
    )
    world.machine(bound).faults.append("failing_disk")
    for _ in range(200):
        await world.reconciler.turn(world.clock())
        await world.reconciler.workers.join()
        if len(await world.leases(reservation)) == 2:
            break
        await world.turn(seconds=1)
    old, new = await world.leases(reservation)
    assert (old.end_reason, new.end_reason) == ("moved", None)
    await extended(world, reservation)
    old, new = await world.leases(reservation)
    assert new.ends_at == reservation.ends_at + timedelta(hours=1)
    assert old.ends_at < reservation.ends_at
    await world.release(reservation)


@pytest.fixture
async def full(postgresql_database: Database, tmp_path: Path) -> World:
    world = World(postgresql_database, tmp_path, servers=2)
    await world.enrol()
    await world.settle()
    return world


async def test_of_extensions_and_reservations_at_once_no_more_fit_than_there_are_servers(
    full: World,
) -> None:
    one = await full.reserve(hours=1)
    requests = (extended(full, one), extended(full, one), full.reserve(), full.reserve())
    answers = await asyncio.gather(*requests, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [getattr(each, "code", each) for each in refused] == ["no_capacity"]
    assert {lease.server_id for lease in await full.leases()} == {
        server.id for server in await full.servers()
    }
    (lease,) = await full.leases(one)
    assert (lease.ends_at, lease.sequence) == (one.ends_at + timedelta(hours=2), 3)
