"""An operator's requests on a server in maintenance or quarantine."""

import pytest
from requests_on_servers import carried_out
from sqlmodel import col, select
from world import KEY, OPERATOR, World

from lab.simulated import FIRMWARE, OFF, RAMDISK, SECRET, TENANT
from provisioner.domain.lifecycle import RequestOutcome, RequestVerb, State
from provisioner.domain.refusals import Refusal
from provisioner.fleet import requests as fleet_requests
from provisioner.store.tables import Lease, Server


@pytest.fixture
async def maintained(world: World) -> World:
    await carried_out(world, RequestVerb.MAINTAIN)
    assert await world.state() is State.MAINTENANCE
    return world


async def test_a_server_in_maintenance_is_validated(maintained: World) -> None:
    await carried_out(maintained, RequestVerb.VALIDATE)
    assert maintained.machine().counts["validate"] == 2
    assert await maintained.state() is State.MAINTENANCE


async def test_a_server_in_maintenance_is_wiped_with_certificates(maintained: World) -> None:
    maintained.rack.write_secret(maintained.machine())
    before = (await maintained.snapshot()).certificates
    await carried_out(maintained, RequestVerb.SANITISE)
    assert SECRET not in "".join(maintained.machine().disks.values())
    after = (await maintained.snapshot()).certificates
    assert {c.id for c in before.values()}.isdisjoint(c.id for c in after.values())
    assert await maintained.state() is State.MAINTENANCE


async def test_an_operator_gets_a_system_on_a_server_in_maintenance(maintained: World) -> None:
    await carried_out(maintained, RequestVerb.IMAGE)
    machine = maintained.machine()
    assert machine.running == TENANT
    assert machine.installed["authorized_keys"] == [KEY]
    assert machine.installed["agent"] is None
    assert not machine.port_open
    snapshot = await maintained.snapshot()
    assert not snapshot.sanitised, "whoever logs in may write to the disks"


async def test_a_server_that_was_imaged_for_an_operator_is_wiped_before_it_is_rented(
    maintained: World,
) -> None:
    await carried_out(maintained, RequestVerb.IMAGE)
    maintained.rack.write_secret(maintained.machine())
    await carried_out(maintained, RequestVerb.RESUME)
    assert await maintained.state() is State.AVAILABLE
    assert SECRET not in "".join(maintained.machine().disks.values())


async def test_a_request_for_a_state_goes_before_work_in_this_one(maintained: World) -> None:
    maintained.machine().running = OFF
    maintained.machine().faults.append("no_dhcp")
    work = await maintained.request(RequestVerb.VALIDATE)
    await maintained.turn(minutes=1)
    await maintained.reconciler.settle()
    maintained.machine().faults.clear()
    await carried_out(maintained, RequestVerb.RESUME)
    assert (await maintained.filed(work.id)).outcome is RequestOutcome.CANCELLED
    assert await maintained.state() is State.AVAILABLE


async def test_a_later_request_for_a_state_takes_the_place_of_one_that_waits(
    world: World,
) -> None:
    await world.reserve()
    retire = await world.request(RequestVerb.RETIRE)
    maintain = await world.request(RequestVerb.MAINTAIN)
    retire = await world.filed(retire.id)
    assert (retire.outcome, retire.failure) == (
        RequestOutcome.CANCELLED,
        "maintain was requested instead",
    )
    assert (await world.filed(maintain.id)).outcome is RequestOutcome.WAITING


async def test_maintenance_waits_for_the_end_of_a_lease_and_keeps_nobody_from_theirs(
    world: World,
) -> None:
    reservation = await world.reserve()
    maintain = await world.request(RequestVerb.MAINTAIN)
    await world.settle()
    assert await world.state() is State.LEASED
    await carried_out(world, RequestVerb.REBOOT)
    await world.release(reservation)
    await world.settle()
    assert await world.state() is State.MAINTENANCE
    assert (await world.filed(maintain.id)).outcome is RequestOutcome.DONE


@pytest.mark.parametrize(
    ("verb", "running"),
    [
        (RequestVerb.POWER_OFF, OFF),
        (RequestVerb.POWER_CYCLE, FIRMWARE),
        (RequestVerb.RESET, FIRMWARE),
        (RequestVerb.START, RAMDISK),
    ],
)
async def test_the_power_of_a_server_in_maintenance_is_switched(
    maintained: World, verb: RequestVerb, running: str
) -> None:
    await carried_out(maintained, verb)
    assert maintained.machine().running == running
    assert not maintained.machine().port_open


async def test_power_in_quarantine_keeps_the_reason_for_it(world: World) -> None:
    await world.request(RequestVerb.QUARANTINE, reason="a fan is loud")
    await world.settle()
    assert (await world.server()).reason == "a fan is loud"
    await carried_out(world, RequestVerb.POWER_OFF)
    assert world.machine().running == OFF
    world.machine().faults.append("bad_password")
    request = await world.request(RequestVerb.START)
    await world.settle()
    assert (await world.filed(request.id)).outcome is RequestOutcome.FAILED
    server = await world.server()
    assert (server.state, server.reason) == (State.QUARANTINED, "a fan is loud")


async def test_power_in_quarantine_lets_no_tenant_in_whose_lease_was_not_closed(
    leased: World,
) -> None:
    leased.machine().port_open = False
    async with leased.database.write() as session:
        server = await session.get_one(Server, (await leased.server()).id)
        server.state = State.QUARANTINED
    await carried_out(leased, RequestVerb.POWER_CYCLE)
    assert not leased.machine().port_open


async def test_an_operator_is_sent_to_the_reservation_of_a_leased_server(leased: World) -> None:
    server = await leased.server()
    with pytest.raises(Refusal, match="file the request on its reservation"):
        async with leased.database.write() as session:
            await fleet_requests.request(
                session,
                server.name,
                RequestVerb.POWER_CYCLE,
                actor=OPERATOR,
                now=leased.clock(),
            )


async def test_a_server_with_a_request_is_given_to_nobody(two_servers: World) -> None:
    world = two_servers
    await world.request(RequestVerb.MAINTAIN, 0)
    reservation = await world.reserve()
    async with world.database.read() as session:
        lease = (
            await session.exec(select(Lease).where(col(Lease.reservation_id) == reservation.id))
        ).one()
    assert lease.server_id == (await world.server(1)).id
