"""A customer's requests on a leased server."""

from datetime import timedelta

import pytest
from requests_on_servers import carried_out
from world import CUSTOMER, KEY, World

from lab.simulated import OFF, RAMDISK, SECRET, TENANT
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import RequestOutcome, RequestVerb, State
from provisioner.domain.refusals import Refusal
from provisioner.fleet.requests import MOST_OPEN
from provisioner.rental import requests as rental_requests
from provisioner.store.tables import Image, Reservation


async def test_a_stopped_server_is_off_and_its_system_was_asked_to_shut_down(
    leased: World,
) -> None:
    await carried_out(leased, RequestVerb.STOP)
    machine = leased.machine()
    assert (machine.running, machine.counts["power_button"]) == (OFF, 1)
    (lease,) = await leased.leases()
    assert lease.stopped_at is not None
    assert await leased.state() is State.LEASED


async def test_a_system_that_does_not_shut_down_is_switched_off_after_a_time(
    leased: World,
) -> None:
    leased.machine().faults.append("ignores_button")
    request = await leased.request(RequestVerb.STOP)
    await leased.passes(5, seconds=10)
    assert leased.machine().running == TENANT
    await leased.turn(minutes=3)
    await leased.settle()
    assert leased.machine().running == OFF
    assert (await leased.filed(request.id)).outcome is RequestOutcome.DONE


async def test_a_system_that_missed_the_button_while_it_was_starting_is_asked_again(
    leased: World,
) -> None:
    leased.machine().faults.append("ignores_button")
    request = await leased.request(RequestVerb.STOP)
    await leased.passes(2, seconds=10)
    leased.machine().faults.clear()
    await leased.passes(3, seconds=10)
    assert (leased.machine().running, leased.machine().counts["power_button"]) == (OFF, 2)
    assert (await leased.filed(request.id)).outcome is RequestOutcome.DONE


async def test_a_server_that_was_stopped_is_started_with_its_disks_as_they_were(
    leased: World,
) -> None:
    leased.rack.write_secret(leased.machine())
    disks = dict(leased.machine().disks)
    await carried_out(leased, RequestVerb.STOP)
    await carried_out(leased, RequestVerb.START)
    assert leased.machine().running == TENANT
    assert leased.machine().disks == disks
    (lease,) = await leased.leases()
    assert (lease.stopped_at, lease.ended_at) == (None, None)


@pytest.mark.parametrize(
    ("verb", "buttons"),
    [(RequestVerb.REBOOT, 1), (RequestVerb.POWER_CYCLE, 0)],
)
async def test_a_server_is_switched_off_and_on_again(
    leased: World, verb: RequestVerb, buttons: int
) -> None:
    before = leased.machine().counts["power_ons"]
    await carried_out(leased, verb)
    machine = leased.machine()
    assert machine.counts["power_ons"] == before + 1
    assert machine.counts.get("power_button", 0) == buttons
    assert machine.running == TENANT


async def test_a_reinstalled_server_is_the_same_to_its_customer_with_an_empty_system(
    leased: World,
) -> None:
    leased.rack.write_secret(leased.machine())
    (before,) = await leased.leases()
    await carried_out(leased, RequestVerb.REINSTALL)
    machine = leased.machine()
    (lease,) = await leased.leases()
    system, other = machine.disks.values()
    assert SECRET not in system
    assert SECRET in other, "only the system's disk is written"
    assert machine.running == TENANT
    assert machine.host_key == lease.host_key == before.host_key
    assert machine.installed["authorized_keys"] == [KEY]
    assert (lease.id, lease.ready_at) == (before.id, before.ready_at)
    assert (lease.ends_at, lease.certificates) == (before.ends_at, before.certificates)
    assert lease.stopped_at is None
    assert (machine.port_open, machine.boot_allowed) == (True, False)
    first, second = (entry.split(" found ")[0] for entry in machine.tenants)
    assert first != second, "the system must take itself for new"


async def test_a_reinstallation_may_bring_another_image(leased: World) -> None:
    async with leased.database.write() as session:
        session.add(
            Image(id="img_2", name="ubuntu", title="Ubuntu", digest="d2", size_bytes=1, boot={})
        )
    (lease,) = await leased.leases()
    async with leased.database.write() as session:
        await rental_requests.request(
            session,
            lease.reservation_id,
            RequestVerb.REINSTALL,
            image="ubuntu",
            actor=CUSTOMER,
            now=leased.clock(),
        )
    await leased.settle()
    assert next(iter(leased.machine().disks.values())) == "image d2"
    async with leased.database.read() as session:
        assert (await session.get_one(Reservation, lease.reservation_id)).image_id == "img_2"


async def test_a_reinstallation_that_fails_leaves_the_lease_and_says_why(leased: World) -> None:
    leased.machine().faults.append("failing_disk")
    request = await leased.request(RequestVerb.REINSTALL)
    await leased.settle()
    request = await leased.filed(request.id)
    assert request.outcome is RequestOutcome.FAILED
    assert "Input/output error" in request.failure
    assert await leased.state() is State.LEASED
    (incident,) = await leased.incidents()
    assert incident.kind is IncidentKind.STEP
    assert incident.next_action
    leased.machine().faults.clear()
    await carried_out(leased, RequestVerb.REINSTALL)
    assert await leased.incidents() == []


async def test_a_server_whose_reinstallation_failed_can_be_started_as_it_is(
    leased: World,
) -> None:
    leased.machine().faults.append("corrupt_image")
    request = await leased.request(RequestVerb.REINSTALL)
    await leased.settle()
    assert (await leased.filed(request.id)).outcome is RequestOutcome.FAILED
    assert leased.machine().running == RAMDISK
    await carried_out(leased, RequestVerb.START)
    machine = leased.machine()
    assert machine.running == TENANT
    assert (machine.port_open, machine.boot_allowed) == (True, False)
    assert (await leased.snapshot()).boot is None


async def test_a_bmc_that_refuses_us_fails_a_request_and_is_not_asked_for_ever(
    leased: World,
) -> None:
    leased.machine().faults.append("bad_password")
    request = await leased.request(RequestVerb.POWER_CYCLE)
    await leased.passes(10, minutes=2)
    assert (await leased.filed(request.id)).outcome is RequestOutcome.FAILED
    assert leased.machine().counts["refused_logins"] == 1


async def test_requests_are_carried_out_in_their_order(leased: World) -> None:
    stop = await leased.request(RequestVerb.STOP)
    start = await leased.request(RequestVerb.START)
    await leased.settle()
    stop, start = await leased.filed(stop.id), await leased.filed(start.id)
    assert (stop.outcome, start.outcome) == (RequestOutcome.DONE, RequestOutcome.DONE)
    assert (stop.ended_at or stop.filed_at) <= (start.taken_at or start.filed_at)
    assert leased.machine().running == TENANT


async def test_a_queue_has_an_end(leased: World) -> None:
    leased.machine().faults.append("no_bmc")
    for _ in range(MOST_OPEN):
        await leased.request(RequestVerb.REBOOT)
    with pytest.raises(Refusal, match="sim-01 already has"):
        await leased.request(RequestVerb.REBOOT)


async def test_a_customer_cannot_request_what_is_an_operators(leased: World) -> None:
    for verb in (RequestVerb.SANITISE, RequestVerb.QUARANTINE, RequestVerb.IMAGE):
        with pytest.raises(Refusal, match="cannot be requested on a leased server"):
            await leased.request(verb)


async def test_nothing_is_requested_of_a_lease_that_was_not_handed_over(world: World) -> None:
    reservation = await world.reserve()
    with pytest.raises(Refusal, match="no server that is ready for use"):
        async with world.database.write() as session:
            await rental_requests.request(
                session,
                reservation.id,
                RequestVerb.REBOOT,
                actor=CUSTOMER,
                now=world.clock(),
            )


async def test_a_stopped_servers_lease_ends_on_time_and_the_server_is_wiped(
    leased: World,
) -> None:
    leased.rack.write_secret(leased.machine())
    await carried_out(leased, RequestVerb.STOP)
    await leased.turn(hours=10)
    await leased.settle()
    (lease,) = await leased.leases()
    assert lease.ended_at is not None
    assert lease.ended_at - lease.ends_at < timedelta(minutes=1)
    assert await leased.state() is State.AVAILABLE
    assert SECRET not in "".join(leased.machine().disks.values())
    assert leased.machine().running == RAMDISK


@pytest.mark.parametrize("verb", [RequestVerb.STOP, RequestVerb.REBOOT, RequestVerb.REINSTALL])
async def test_a_lease_that_ends_cancels_what_is_under_way_and_what_waits(
    leased: World, verb: RequestVerb
) -> None:
    leased.machine().faults += ["ignores_button", "no_dhcp"]
    under_way = await leased.request(verb)
    waiting = await leased.request(RequestVerb.START)
    await leased.reconciler.settle()
    assert (await leased.filed(under_way.id)).outcome is RequestOutcome.TAKEN
    (lease,) = await leased.leases()
    async with leased.database.read() as session:
        reservation = await session.get_one(Reservation, lease.reservation_id)
    await leased.release(reservation)
    leased.machine().faults.clear()
    await leased.settle()
    for request in (under_way, waiting):
        assert (await leased.filed(request.id)).outcome is RequestOutcome.CANCELLED
    assert await leased.state() is State.AVAILABLE


async def test_the_end_of_a_lease_does_not_wait_for_a_step(leased: World) -> None:
    leased.machine().faults.append("no_dhcp")
    (lease,) = await leased.leases()
    await leased.turn(seconds=(lease.ends_at - leased.clock()).total_seconds() - 2)
    await leased.request(RequestVerb.REINSTALL)
    await leased.reconciler.settle()
    server = await leased.server()
    assert server.due_at is not None
    assert server.due_at <= lease.ends_at


async def test_a_stopped_servers_silent_agent_is_no_fault(leased: World) -> None:
    await carried_out(leased, RequestVerb.STOP)
    for _ in range(10):
        await leased.turn(minutes=1)
        await leased.judge.settle()
    assert await leased.incidents() == []
    await carried_out(leased, RequestVerb.START)
    await leased.judge.settle()
    assert await leased.incidents() == [], "it has had no time yet"
    for _ in range(10):
        leased.clock.turn(minutes=1)
        await leased.judge.settle()
    assert [i.kind for i in await leased.incidents()] == [IncidentKind.SILENT]
    await carried_out(leased, RequestVerb.STOP)
    assert await leased.incidents() == []
