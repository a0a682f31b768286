"""Judging and its effects on each kind of database, by two processes at once."""

import asyncio
from pathlib import Path

from sick_world import DEAD_DISK, LOST_ROW, SickWorld, gpu
from world import World

from provisioner.domain.health.fleet import BELIEVED
from provisioner.domain.lifecycle import State
from provisioner.store.database import Database


async def test_two_judges_on_one_database_do_everything_once(
    any_database: Database, tmp_path: Path
) -> None:
    world = World(any_database, tmp_path, servers=4)
    await world.enrol()
    await world.settle()
    sick = SickWorld(world)
    other = world.new_judge()
    reservation = await sick.lease(hours=1)
    leased = await sick.numbered(reservation)
    await sick.tell(gpu(temperature_c=50), leased)
    await world.judge.settle()
    await other.settle()
    assert len(await sick.samples()) == 1
    await sick.tell(LOST_ROW, leased)
    await world.judge.settle()
    await other.settle()
    assert len(await sick.outages()) == 1
    assert await sick.kinds() == ["health"]

    well = [number for number in range(4) if number != leased]
    for number in well:
        await sick.tell(DEAD_DISK, number)
    await other.settle()
    await world.judge.settle()
    await world.reconciler.settle()
    assert await sick.kinds() == ["breaker", "health"]

    await world.turn(hours=1)
    await sick.pass_time(12)
    (outage,) = await sick.outages()
    assert outage.ended_at is not None
    assert await world.state(leased) is State.AVAILABLE, "the breaker is open"


async def test_two_provisioners_doubt_a_tenant_who_reports_too_many_faults(
    any_database: Database, tmp_path: Path
) -> None:
    world = World(any_database, tmp_path, servers=4)
    await world.enrol()
    await world.settle()
    sick = SickWorld(world)
    other = world.new_reconciler("other")
    reservations = [await world.reserve(hours=10) for _ in range(4)]
    await world.settle()
    for number in range(4):
        await sick.tell(LOST_ROW, number)
    await world.judge.settle()
    for reservation in reservations:
        await world.release(reservation)
    for _ in range(20):
        await world.turn(seconds=20)
        await world.judge.settle()
        await asyncio.gather(world.reconciler.settle(), other.settle())
    states = sorted([server.state for server in await world.servers()])
    assert states == [State.AVAILABLE] * 2 + [State.QUARANTINED] * BELIEVED
    assert await sick.kinds() == ["doubt"] * 2 + ["fault"] * BELIEVED
