"""Imaging that fails: by the image, which is no server's fault, and by the server."""

from world import World

from provisioner.domain.lifecycle import State


async def test_an_image_that_stays_corrupt_never_costs_a_server(two_servers: World) -> None:
    """It is at fault on every server: to move on would quarantine one after the other."""
    world = two_servers
    for number in (0, 1):
        world.machine(number).faults.append("corrupt_image")
    reservation = await world.reserve()
    await world.passes(20, minutes=1.5)
    assert len(await world.leases(reservation)) == 1
    assert State.QUARANTINED not in {server.state for server in await world.servers()}
    for number in (0, 1):
        world.machine(number).faults.clear()
    await world.passes(3, minutes=1.5)
    await world.settle()
    (lease,) = await world.leases(reservation)
    assert lease.ready_at is not None


async def test_why_imaging_failed_is_still_told_when_the_server_was_taken_back(
    world: World,
) -> None:
    world.machine().faults.append("no_tenant_boot")
    await world.reserve()
    await world.passes(40, seconds=20)
    server = await world.server()
    assert server.state is State.QUARANTINED
    assert "the tenant system does not answer on SSH" in server.reason
    assert "serial console" in server.next_action
    (incident,) = await world.incidents()
    assert (incident.kind, incident.reason) == ("fault", server.reason)


async def test_a_disk_that_hangs_while_imaging_comes_back_with_a_power_cycle(
    world: World,
) -> None:
    world.machine().faults.append("hung_disk")
    await world.reserve()
    await world.settle()
    assert await world.state() is State.LEASED
    assert world.machine().counts["image"] == 2
    assert world.machine().counts["ramdisk_boots"] == 2


async def test_a_disk_that_goes_on_failing_costs_one_power_cycle_and_the_server(
    world: World,
) -> None:
    world.machine().faults.append("failing_disk")
    await world.reserve()
    await world.settle()
    server = await world.server()
    assert server.state is State.QUARANTINED
    assert "Input/output error" in server.reason
    assert world.machine().counts["image"] == 2
