"""Several reconcilers on one database: they share the work, and one takes over from a dead one."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from world import World

from provisioner.domain.lifecycle import State
from provisioner.drivers.plays import OnEvent
from provisioner.drivers.ssh import SshTarget
from provisioner.lifecycle.job import Drivers
from provisioner.store.claims import Claims
from provisioner.store.database import Database
from provisioner.store.tables import ErasureCertificate, Operation, Server

TTL = timedelta(seconds=30)


@pytest.fixture
async def world(postgresql_database: Database, tmp_path: Path) -> World:
    world = World(postgresql_database, tmp_path, servers=6)
    await world.enrol()
    return world


async def test_two_reconcilers_share_the_servers_and_do_nothing_twice(world: World) -> None:
    other = world.new_reconciler("other")
    for _ in range(10):
        await asyncio.gather(world.reconciler.settle(), other.settle())
        await world.turn(seconds=3)
        await world.judge.settle()
    assert {server.state for server in await world.servers()} == {State.AVAILABLE}
    for machine in world.rack.servers:
        assert machine.counts["sanitise"] == machine.counts["ramdisk_boots"] == 1
    async with world.database.read() as session:
        operations = (await session.exec(select(Operation))).all()
    assert len(operations) == 3 * len(world.rack.servers)


async def test_a_dead_reconcilers_servers_are_taken_over_when_its_claims_expire(
    world: World,
) -> None:
    dead = Claims(world.database, Server, ttl=TTL, owner="dead")
    claims = await dead.claim_due(world.clock(), 10)
    assert len(claims) == 6
    await world.reconciler.settle()
    assert {server.state for server in await world.servers()} == {State.ENROLLED}
    world.clock.turn(seconds=TTL.total_seconds() + 1)
    await world.settle()
    assert {server.state for server in await world.servers()} == {State.AVAILABLE}


class FrozenPlays:
    """Plays of a reconciler that stops in the middle of a wipe, and wakes up much later."""

    def __init__(self, drivers: Drivers) -> None:
        self._plays = drivers.plays
        self.wiping = asyncio.Event()
        self.thaw = asyncio.Event()

    async def run(
        self,
        playbook: str,
        target: SshTarget,
        variables: Mapping[str, Any],
        on_event: OnEvent,
        *,
        timeout_s: float,
    ) -> dict[str, Any]:
        if playbook == "sanitise" and not self.wiping.is_set():
            self.wiping.set()
            await self.thaw.wait()
        return await self._plays.run(playbook, target, variables, on_event, timeout_s=timeout_s)


async def test_the_result_of_a_reconciler_that_lost_its_claim_is_discarded(
    postgresql_database: Database, tmp_path: Path
) -> None:
    world = World(postgresql_database, tmp_path)
    await world.enrol()
    frozen_plays = FrozenPlays(world.context.drivers)
    frozen = world.new_reconciler("frozen", plays=frozen_plays)
    passes = asyncio.create_task(frozen.settle())
    await frozen_plays.wiping.wait()

    world.clock.turn(seconds=TTL.total_seconds() + 1)
    await world.settle()
    assert await world.state() is State.AVAILABLE
    since = (await world.server()).state_since

    frozen_plays.thaw.set()
    await passes
    server = await world.server()
    assert (server.state, server.state_since) == (State.AVAILABLE, since)
    async with postgresql_database.read() as session:
        certificates = (await session.exec(select(ErasureCertificate))).all()
    assert len(certificates) == len(world.machine().disks)
