"""The BMC's password after a lease: rotated, or recovered if the tenant changed it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from world import World

from lab.simulated import FIRMWARE, TENANT, SimulatedRack
from lab.simulated.drivers import SimulatedPlays
from provisioner.domain.lifecycle import OperationState, RequestVerb, State
from provisioner.drivers.plays import OnEvent
from provisioner.drivers.ssh import SshTarget
from provisioner.fleet.servers import take_bmc_password
from provisioner.lifecycle.reconciler import Reconciler
from provisioner.store.tables import Operation, Server


class WatchedPlays(SimulatedPlays):
    """Keeps the passwords that were sent into ramdisks."""

    def __init__(self, rack: SimulatedRack) -> None:
        super().__init__(rack)
        self.passwords: list[str] = []

    async def run(
        self,
        playbook: str,
        target: SshTarget,
        variables: Mapping[str, Any],
        on_event: OnEvent,
        *,
        timeout_s: float,
    ) -> dict[str, Any]:
        if playbook == "recover_bmc_access":
            self.passwords.append(variables["password"])
        return await super().run(playbook, target, variables, on_event, timeout_s=timeout_s)


async def lease(world: World) -> None:
    reservation = await world.reserve(hours=100)
    await world.settle()
    assert await world.state() is State.LEASED
    await world.release(reservation)


async def lose_bmc(world: World) -> None:
    """The tenant changes our password, and the lease ends."""
    reservation = await world.reserve(hours=100)
    await world.settle()
    world.machine().bmc_password = "the tenant's"
    await world.release(reservation)
    await world.passes(5, seconds=5)


async def cycle_by_hand(world: World) -> None:
    machine = world.machine()
    machine.running, machine.boot_from_network = FIRMWARE, True
    while machine.running == FIRMWARE:
        await world.rack.advance(machine)  # asks in iPXE until a window is open
        await world.passes(1, seconds=20)


async def test_after_each_lease_the_bmc_has_a_new_password_that_works(world: World) -> None:
    seen = {"secret"}
    for _ in range(2):
        await lease(world)
        await world.settle()
        assert await world.state() is State.AVAILABLE
        server = await world.server()
        assert world.box.open(server.bmc_secret) == world.machine().bmc_password
        assert world.machine().bmc_password not in seen
        assert server.bmc_next_secret == ""
        assert world.box.open(server.bmc_enrolled_secret) == "secret"
        seen.add(world.machine().bmc_password)
    assert world.machine().counts.get("refused_logins", 0) == 0


async def test_where_rotation_is_switched_off_the_password_stays(world: World) -> None:
    world.context = replace(world.context, rotate_bmc_passwords=False)
    world.reconciler = Reconciler(world.database, world.context, owner="test")
    await lease(world)
    await world.settle()
    assert await world.state() is State.AVAILABLE
    assert world.machine().bmc_password == "secret"


async def test_a_second_bmc_user_of_our_name_is_disabled(world: World) -> None:
    reservation = await world.reserve()
    await world.settle()
    world.machine().bmc_users = ["admin", "planted", "admin"]
    await world.release(reservation)
    await world.settle()
    assert world.machine().bmc_users == ["admin", "", ""]


async def test_a_bmc_that_refuses_us_after_a_lease_is_lost_and_not_asked_again(
    world: World,
) -> None:
    await lose_bmc(world)
    await world.passes(20, minutes=1)
    server = await world.server()
    assert server.state is State.RECLAIMING
    assert server.bmc_lost_at is not None
    assert "power cycle the server by hand" in server.next_action
    incidents = {incident.kind: incident for incident in await world.incidents()}
    assert "refuses the login" in incidents["access"].reason
    assert world.machine().counts["refused_logins"] == 2
    (lease,) = await world.leases()
    assert lease.ended_at is not None
    snapshot = await world.snapshot()
    assert snapshot.operation is not None
    assert snapshot.operation.state is OperationState.PARKED


async def test_the_port_of_a_server_whose_bmc_is_lost_is_open_to_its_boot_alone(
    world: World,
) -> None:
    await lose_bmc(world)
    assert world.machine().running == TENANT
    assert (world.machine().port_open, world.machine().boot_allowed) == (False, True)


async def test_a_lost_bmc_is_won_back_from_the_ramdisk_of_a_boot_by_hand(world: World) -> None:
    await lose_bmc(world)
    await world.passes(30, minutes=1)
    await cycle_by_hand(world)
    await world.settle()
    assert await world.state() is State.AVAILABLE
    server = await world.server()
    assert server.bmc_lost_at is None
    assert world.box.open(server.bmc_secret) == world.machine().bmc_password
    assert await world.incidents() == []
    assert (world.machine().port_open, world.machine().boot_allowed) == (False, True)
    assert set(world.machine().disks.values()) == {""}


async def test_the_password_that_won_the_bmc_back_is_replaced_once_the_power_is_off(
    world: World,
) -> None:
    """Whoever took the ramdisk's place has seen it."""
    await lose_bmc(world)
    plays = WatchedPlays(world.rack)
    world.reconciler = world.new_reconciler("test", plays=plays)
    await cycle_by_hand(world)
    await world.settle()
    assert await world.state() is State.AVAILABLE
    assert len(plays.passwords) == 1
    assert world.machine().bmc_password not in plays.passwords


async def test_a_lost_bmc_whose_password_is_told_goes_on_without_a_boot_by_hand(
    world: World,
) -> None:
    await lose_bmc(world)
    server = await world.server()
    async with world.database.write() as session:
        row = await session.get_one(Server, server.id)
        take_bmc_password(row, world.box.seal("the tenant's"))
    await world.nudge()
    await world.settle()
    assert await world.state() is State.AVAILABLE
    assert await world.incidents() == []


async def test_without_a_switch_a_lost_bmc_keeps_the_lease_open_and_says_cut_the_power(
    world: World,
) -> None:
    world.context = replace(world.context, drivers=replace(world.context.drivers, switch=None))
    world.reconciler = Reconciler(world.database, world.context, owner="test")
    await lose_bmc(world)
    server = await world.server()
    assert "cut the power" in server.next_action
    (lease,) = await world.leases()
    assert lease.ended_at is None


async def test_a_repaired_server_whose_bmc_is_lost_is_taken_back_not_only_inspected(
    world: World,
) -> None:
    await lose_bmc(world)
    snapshot = await world.snapshot()
    assert snapshot.operation is not None
    async with world.database.write() as session:
        row = await session.get_one(Server, snapshot.server.id)
        row.state = State.QUARANTINED
        operation = await session.get_one(Operation, snapshot.operation.id)
        operation.ended_at = world.clock()
    await world.request(RequestVerb.REPAIRED)
    await world.reconciler.settle()
    assert await world.state() is State.RECLAIMING
