"""The main loop on simulated servers: from enrolment to the next tenant, and what goes wrong."""

from pathlib import Path

import pytest
from world import World

from lab.simulated import OFF, RAMDISK, SECRET, TENANT
from provisioner.domain.lifecycle import OperationState, RequestVerb, State
from provisioner.domain.refusals import Refusal
from provisioner.domain.reservations import ReservationState
from provisioner.domain.retries import BOOTS
from provisioner.domain.sanitisation import SanitisationLevel
from provisioner.store.database import Database


async def test_an_enrolled_server_becomes_available_wiped_and_waits_in_its_ramdisk(
    enrolled: World,
) -> None:
    await enrolled.settle()
    assert await enrolled.state() is State.AVAILABLE
    assert (await enrolled.snapshot()).sanitised
    assert enrolled.machine().running == RAMDISK
    assert set(enrolled.machine().disks.values()) == {""}


async def test_one_ramdisk_boot_serves_inspection_wipe_validation_and_imaging(
    world: World,
) -> None:
    await world.reserve()
    await world.settle()
    assert await world.state() is State.LEASED
    assert world.machine().counts["ramdisk_boots"] == 1
    assert world.machine().counts["power_ons"] == 1


async def test_a_lease_is_ready_only_when_the_customers_key_would_log_in(world: World) -> None:
    reservation = await world.reserve()
    await world.settle()
    (lease,) = await world.leases(reservation)
    assert lease.ready_at is not None
    assert lease.host_key == world.machine().host_key
    assert len(lease.certificates) == len(world.machine().disks)
    assert world.machine().running == TENANT


async def test_at_expiry_the_server_is_taken_back_wiped_and_offered_again(world: World) -> None:
    reservation = await world.reserve(hours=1)
    await world.settle()
    world.rack.write_secret(world.machine())
    await world.turn(hours=1)
    await world.settle()
    assert await world.state() is State.AVAILABLE
    assert await world.reservation_state(reservation.id) is ReservationState.ENDED
    (lease,) = await world.leases(reservation)
    assert lease.end_reason == "expired"
    assert lease.ended_at is not None
    assert SECRET not in "".join(world.machine().disks.values())


async def test_the_next_tenant_finds_nothing_of_the_one_before(world: World) -> None:
    for _ in range(2):
        await world.settle()
        reservation = await world.reserve()
        await world.settle()
        world.rack.write_secret(world.machine())
        await world.release(reservation)
    await world.settle()
    assert len(world.machine().tenants) == 2
    assert all(entry.endswith("found []") for entry in world.machine().tenants)


async def test_a_released_server_is_taken_back_at_once(world: World) -> None:
    reservation = await world.reserve(hours=100)
    await world.settle()
    await world.release(reservation)
    await world.reconciler.settle()
    assert await world.state() is not State.LEASED
    await world.settle()
    (lease,) = await world.leases(reservation)
    assert lease.end_reason == "released"


async def test_a_reservation_released_while_its_server_is_prepared_is_reclaimed(
    world: World,
) -> None:
    reservation = await world.reserve()
    await world.release(reservation)
    await world.settle()
    assert await world.state() is State.AVAILABLE
    assert await world.reservation_state(reservation.id) is ReservationState.ENDED


async def test_no_reservation_beyond_capacity(world: World) -> None:
    await world.reserve()
    with pytest.raises(Refusal, match="no server of class"):
        await world.reserve()


async def test_the_same_idempotency_key_reserves_once(two_servers: World) -> None:
    world = two_servers
    first = await world.reserve(key="k1")
    again = await world.reserve(key="k1")
    assert first.id == again.id
    assert len(await world.leases()) == 1
    with pytest.raises(Refusal, match="used for another request"):
        await world.reserve(hours=5, key="k1")


async def test_a_disk_that_keeps_its_data_quarantines_the_server(enrolled: World) -> None:
    enrolled.machine().faults.append("stubborn_disk")
    await enrolled.settle()
    server = await enrolled.server()
    assert server.state is State.QUARANTINED
    assert "still holds data" in server.reason
    assert "replace the disk" in server.next_action
    assert [incident.kind for incident in await enrolled.incidents()] == ["fault"]


async def test_a_disk_that_cannot_reach_the_classs_level_quarantines_the_server(
    database: Database, tmp_path: Path
) -> None:
    world = World(database, tmp_path)
    await world.enrol(floor=SanitisationLevel.PURGE)
    world.machine().purges = False
    await world.settle()
    server = await world.server()
    assert server.state is State.QUARANTINED
    assert "supports no method of level purge" in server.reason


async def test_hardware_that_differs_from_its_inventory_is_quarantined_with_the_difference(
    enrolled: World,
) -> None:
    enrolled.machine().faults.append("missing:SIM00001-B")
    await enrolled.settle()
    server = await enrolled.server()
    assert server.state is State.QUARANTINED
    assert "disk SIM00001-B is missing" in server.reason


async def test_a_repaired_server_is_inspected_and_wiped_again(enrolled: World) -> None:
    enrolled.machine().faults.append("missing:SIM00001-B")
    await enrolled.settle()
    enrolled.machine().faults.clear()
    await enrolled.request(RequestVerb.REPAIRED)
    await enrolled.settle()
    assert await enrolled.state() is State.AVAILABLE
    assert enrolled.machine().counts["sanitise"] == 1
    assert await enrolled.incidents() == []


async def test_a_short_bmc_outage_heals_by_itself(enrolled: World) -> None:
    enrolled.machine().faults.append("no_bmc")
    await enrolled.settle(turns=4)
    assert await enrolled.state() is State.INSPECTING
    enrolled.machine().faults.clear()
    await enrolled.settle()
    assert await enrolled.state() is State.AVAILABLE


async def test_a_long_bmc_outage_opens_an_incident_and_still_heals(enrolled: World) -> None:
    enrolled.machine().faults.append("no_bmc")
    await enrolled.passes(10, seconds=30)
    server = await enrolled.server()
    assert server.state is State.INSPECTING
    assert "does not answer" in server.reason
    (incident,) = await enrolled.incidents()
    assert "does not answer" in incident.reason
    enrolled.machine().faults.clear()
    await enrolled.turn(minutes=2)
    await enrolled.settle()
    assert await enrolled.state() is State.AVAILABLE
    assert await enrolled.incidents() == []


async def test_a_wrong_bmc_password_parks_the_server_until_it_is_corrected(enrolled: World) -> None:
    enrolled.machine().faults.append("bad_password")
    await enrolled.settle(turns=5)
    server = await enrolled.server()
    assert server.state is State.INSPECTING
    assert "refuses the login" in server.reason
    assert "set-bmc" in server.next_action
    snapshot = await enrolled.snapshot()
    assert snapshot.operation is not None
    assert snapshot.operation.state is OperationState.PARKED
    enrolled.machine().faults.clear()
    await enrolled.nudge()
    await enrolled.settle()
    assert await enrolled.state() is State.AVAILABLE


async def test_a_server_that_never_boots_the_ramdisk_is_tried_three_times_and_left_off(
    enrolled: World,
) -> None:
    enrolled.machine().faults.append("no_dhcp")
    await enrolled.passes(40, minutes=1)
    server = await enrolled.server()
    assert server.state is State.QUARANTINED
    assert "no DHCP request" in server.reason
    assert server.boot_mac in server.next_action
    assert enrolled.machine().counts["power_ons"] == BOOTS
    assert enrolled.machine().running == OFF


async def test_a_server_that_boots_its_last_tenants_system_again_is_powered_off_at_once(
    world: World,
) -> None:
    reservation = await world.reserve()
    await world.settle()
    world.machine().faults.append("boots_disk")
    await world.release(reservation)
    await world.passes(20, seconds=1)
    server = await world.server()
    assert server.state is State.QUARANTINED
    assert "did not boot from the network" in server.reason
    assert world.machine().running == OFF


async def test_at_the_end_of_a_lease_the_port_is_shut_even_if_the_bmc_is_lost(
    world: World,
) -> None:
    reservation = await world.reserve()
    await world.settle()
    world.machine().faults.append("no_bmc")
    await world.release(reservation)
    await world.passes(10, seconds=30)
    assert await world.state() is State.RECLAIMING
    assert not world.machine().port_open
    (lease,) = await world.leases(reservation)
    assert lease.ended_at is not None
    assert "does not answer" in (await world.incidents())[0].reason
    world.machine().faults.clear()
    await world.turn(minutes=2)
    await world.settle()
    assert await world.state() is State.AVAILABLE
    assert (world.machine().port_open, world.machine().boot_allowed) == (False, True)


async def test_a_server_is_reached_by_others_than_the_provisioner_during_its_lease_alone(
    world: World,
) -> None:
    assert (world.machine().port_open, world.machine().boot_allowed) == (False, True)
    reservation = await world.reserve()
    await world.settle()
    assert await world.state() is State.LEASED
    assert world.machine().port_open
    await world.release(reservation)
    await world.settle()
    assert await world.state() is State.AVAILABLE
    assert (world.machine().port_open, world.machine().boot_allowed) == (False, True)


async def test_a_bmc_user_planted_by_the_tenant_is_disabled(world: World) -> None:
    reservation = await world.reserve()
    await world.settle()
    world.machine().bmc_users.append("planted")
    await world.release(reservation)
    await world.settle()
    assert await world.state() is State.AVAILABLE
    assert [name for name in world.machine().bmc_users if name] == ["admin"]


async def test_a_bmc_user_that_cannot_be_disabled_quarantines_the_server(world: World) -> None:
    reservation = await world.reserve()
    await world.settle()
    world.machine().bmc_users.append("planted")
    world.machine().faults.append("stubborn_bmc_user")
    await world.release(reservation)
    await world.settle()
    server = await world.server()
    assert server.state is State.QUARANTINED
    assert "'planted'" in server.reason
    assert world.machine().running == OFF


async def test_a_switch_that_fails_is_told_and_does_not_delay_the_power_off(
    world: World,
) -> None:
    reservation = await world.reserve()
    await world.settle()
    world.machine().faults += ["no_switch", "no_bmc"]
    await world.release(reservation)
    await world.reconciler.settle()
    assert {incident.kind for incident in await world.incidents()} == {"access"}
    world.machine().faults.remove("no_bmc")
    await world.turn(minutes=2)
    await world.reconciler.settle()
    assert world.machine().running == OFF
    world.machine().faults.clear()
    await world.turn(minutes=2)
    await world.settle()
    assert await world.state() is State.AVAILABLE
    assert await world.incidents() == []


async def test_a_reservation_that_waited_past_its_end_takes_no_capacity(
    two_servers: World,
) -> None:
    world = two_servers
    waiting = await world.reserve(hours=1)
    (lease,) = await world.leases()
    bad = next(n for n, s in enumerate(await world.servers()) if s.id == lease.server_id)
    await world.request(RequestVerb.QUARANTINE, 1 - bad)
    world.machine(bad).faults.append("no_tenant_boot")
    await world.passes(30, seconds=20)
    assert await world.reservation_state(waiting.id) is ReservationState.WAITING
    await world.turn(hours=1)
    await world.request(RequestVerb.REPAIRED, 1 - bad)
    await world.settle()
    await world.reserve()
    assert await world.reservation_state(waiting.id) is ReservationState.ENDED


async def test_a_corrupt_image_parks_imaging_and_names_the_remedy(world: World) -> None:
    world.machine().faults.append("corrupt_image")
    reservation = await world.reserve()
    await world.settle(turns=5)
    server = await world.server()
    assert server.state is State.IMAGING
    assert "corrupt" in server.reason
    assert "import the image again" in server.next_action
    world.machine().faults.clear()
    await world.nudge()
    await world.settle()
    assert await world.state() is State.LEASED
    (lease,) = await world.leases(reservation)
    assert lease.ready_at is not None


async def test_a_server_that_fails_to_start_the_tenant_is_swapped_for_another(
    two_servers: World,
) -> None:
    world = two_servers
    reservation = await world.reserve()
    (lease,) = await world.leases(reservation)
    bad = next(n for n, s in enumerate(await world.servers()) if s.id == lease.server_id)
    world.machine(bad).faults.append("no_tenant_boot")
    await world.passes(30, seconds=20)
    assert await world.state(bad) is State.QUARANTINED
    assert await world.state(1 - bad) is State.LEASED
    first, second = await world.leases(reservation)
    assert first.ready_at is None
    assert first.end_reason == "moved"
    assert second.ready_at is not None
    assert await world.reservation_state(reservation.id) is ReservationState.BOUND


async def test_a_silent_ramdisk_is_booted_again_before_it_is_offered(world: World) -> None:
    world.machine().running = OFF
    for _ in range(5):
        await world.turn(minutes=2)
        await world.reconciler.settle()
    assert world.machine().counts["ramdisk_boots"] >= 2
    assert (await world.state()) in (State.AVAILABLE, State.VALIDATING)


async def test_a_quarantine_asked_of_an_available_server_moves_its_unprepared_lease(
    two_servers: World,
) -> None:
    world = two_servers
    reservation = await world.reserve()
    (lease,) = await world.leases(reservation)
    asked = next(n for n, s in enumerate(await world.servers()) if s.id == lease.server_id)
    await world.request(RequestVerb.QUARANTINE, asked)
    await world.settle()
    assert await world.state(asked) is State.QUARANTINED
    assert await world.state(1 - asked) is State.LEASED


async def test_a_server_past_its_states_time_is_told(enrolled: World) -> None:
    enrolled.machine().faults.append("no_bmc")
    await enrolled.passes(5, minutes=10)
    assert "stuck" in {incident.kind for incident in await enrolled.incidents()}


async def test_a_server_is_retired_only_erased(world: World) -> None:
    await world.request(RequestVerb.RETIRE)
    await world.settle()
    assert await world.state() is State.RETIRED
