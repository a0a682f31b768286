"""What verdicts do to servers and leases, from reports to quarantine, outage and swap."""

from datetime import timedelta

import pytest
from sick_world import (
    DEAD_DISK,
    HUNG_DISKS,
    LOST_ROW,
    PENDING_ROW,
    REBOOT_ME,
    WELL,
    SickWorld,
    gpu,
)
from world import World

from lab.simulated import TENANT
from provisioner.domain.health import HealthAction, HealthLevel
from provisioner.domain.lifecycle import RequestVerb, State
from provisioner.domain.refusals import Refusal
from provisioner.domain.reservations import ReservationState


@pytest.fixture
async def sick(world: World) -> SickWorld:
    return SickWorld(world)


@pytest.fixture
async def two(two_servers: World) -> SickWorld:
    return SickWorld(two_servers)


async def test_an_available_server_that_turns_faulty_is_quarantined_at_once(
    sick: SickWorld,
) -> None:
    await sick.tell(HUNG_DISKS)
    await sick.world.judge.settle()
    await sick.world.reconciler.settle()
    server = await sick.world.server()
    assert server.state is State.QUARANTINED
    assert server.reason == "a disk does not answer"
    assert "power cycle it" in server.next_action
    assert await sick.kinds() == ["fault"]
    with pytest.raises(Refusal, match="no server of class"):
        await sick.world.reserve()


async def test_an_available_server_that_is_degraded_for_good_is_quarantined_too(
    sick: SickWorld,
) -> None:
    await sick.tell({"state": "absent", "memory_uncorrected": 1})
    await sick.pass_time(1)
    assert await sick.world.state() is State.QUARANTINED


async def test_a_booking_that_was_not_handed_over_moves_to_another_server(two: SickWorld) -> None:
    reservation = await two.world.reserve()
    first = await two.numbered(reservation)
    await two.tell(HUNG_DISKS, first)
    await two.world.judge.settle()
    await two.world.settle()
    assert await two.world.state(first) is State.QUARANTINED
    assert await two.numbered(reservation) != first
    assert await two.world.state(1 - first) is State.LEASED


async def test_a_leased_server_that_turns_faulty_stays_with_its_tenant_who_is_told(
    sick: SickWorld,
) -> None:
    reservation = await sick.lease()
    await sick.tell(LOST_ROW)
    await sick.pass_time(2)
    assert await sick.world.state() is State.LEASED
    (lease,) = await sick.world.leases(reservation)
    incident = await sick.incident("health")
    assert incident.lease_id == lease.id
    assert reservation.id in incident.next_action
    (outage,) = await sick.outages()
    assert outage.lease_id == lease.id
    assert lease.ready_at is not None
    assert lease.ready_at <= outage.began_at <= sick.world.clock()
    assert outage.ended_at is None


async def test_an_outage_and_its_incident_end_when_the_server_is_well_again(
    sick: SickWorld,
) -> None:
    await sick.lease()
    await sick.tell(REBOOT_ME)
    await sick.pass_time(2)
    await sick.tell(gpu(recovery_action=0))
    await sick.pass_time(turns=13, seconds=60)
    (outage,) = await sick.outages()
    assert outage.ended_at is not None
    assert await sick.kinds() == []
    assert await sick.world.state() is State.LEASED


async def test_an_outage_ends_with_its_lease_and_the_server_is_quarantined_after_it(
    sick: SickWorld,
) -> None:
    reservation = await sick.lease(hours=1)
    await sick.tell(LOST_ROW)
    await sick.pass_time(2)
    await sick.world.turn(hours=1)
    await sick.pass_time(12)
    (lease,) = await sick.world.leases(reservation)
    (outage,) = await sick.outages()
    assert outage.ended_at == lease.ends_at
    assert lease.ended_at is not None
    server = await sick.world.server()
    assert server.state is State.QUARANTINED
    assert "replace the part" in server.next_action
    assert await sick.kinds() == ["fault"]


@pytest.mark.parametrize("health", [PENDING_ROW, REBOOT_ME])
async def test_what_a_power_cycle_mends_is_mended_by_reclaiming(
    sick: SickWorld, health: dict[str, object]
) -> None:
    await sick.lease(hours=1)
    await sick.tell(health)
    await sick.pass_time(2)
    await sick.world.turn(hours=1)
    await sick.pass_time(12)
    assert await sick.world.state() is State.AVAILABLE
    verdict = await sick.verdict()
    assert verdict is not None
    assert verdict.level is HealthLevel.OK


async def test_a_degraded_tenants_server_is_drained_when_its_lease_ends(sick: SickWorld) -> None:
    await sick.lease(hours=1)
    await sick.tell(gpu(ecc_volatile_uncorrected_sram=1))
    await sick.pass_time(2)
    assert await sick.kinds() == []
    assert await sick.outages() == []
    await sick.world.turn(hours=1)
    await sick.pass_time(12)
    assert await sick.world.state() is State.QUARANTINED


async def test_a_repaired_server_is_judged_anew(sick: SickWorld) -> None:
    await sick.lease(hours=1)
    await sick.tell(LOST_ROW)
    await sick.world.turn(hours=1)
    await sick.pass_time(12)
    assert await sick.world.state() is State.QUARANTINED
    await sick.heal()
    await sick.world.request(RequestVerb.REPAIRED)
    await sick.world.settle()
    await sick.pass_time(3)
    assert await sick.world.state() is State.AVAILABLE


async def test_a_repair_that_mended_nothing_is_found_out(sick: SickWorld) -> None:
    await sick.tell(DEAD_DISK)
    await sick.pass_time(12)
    assert await sick.world.state() is State.QUARANTINED
    await sick.world.request(RequestVerb.REPAIRED)
    await sick.pass_time(12)
    assert await sick.world.state() is State.QUARANTINED


async def test_a_tenant_who_stops_the_agent_has_no_outage_but_is_noticed(sick: SickWorld) -> None:
    await sick.lease()
    await sick.tell(gpu())
    await sick.pass_time(1)
    sick.world.machine().port_open = False
    await sick.pass_time(turns=5, seconds=60)
    assert await sick.outages() == []
    assert await sick.kinds() == ["silent"]
    sick.world.machine().port_open = True
    await sick.pass_time(turns=12, seconds=60)
    assert await sick.kinds() == []


async def test_the_same_report_judged_twice_changes_nothing(sick: SickWorld) -> None:
    await sick.lease()
    await sick.tell(LOST_ROW)
    for _ in range(3):
        await sick.world.judge.settle()
    assert len(await sick.outages()) == 1
    assert len(await sick.findings()) == 1
    assert await sick.kinds() == ["health"]


async def test_a_restarted_judge_goes_on_from_what_is_stored(sick: SickWorld) -> None:
    await sick.lease()
    await sick.tell(LOST_ROW)
    await sick.pass_time(1)
    before = await sick.verdict()
    sick.world.judge = sick.world.new_judge()
    await sick.pass_time(1)
    after = await sick.verdict()
    assert before is not None
    assert after is not None
    assert [f.since for f in after.findings] == [f.since for f in before.findings]
    assert len(await sick.outages()) == 1


async def test_a_verdict_on_a_report_that_was_judged_by_another_process_is_void(
    sick: SickWorld,
) -> None:
    await sick.lease()
    other = sick.world.new_judge()
    await sick.tell(gpu())
    await sick.world.judge.settle()
    await other.settle()
    await sick.tell(LOST_ROW)
    await sick.world.judge.settle()
    await other.settle()
    await sick.world.judge.settle()
    assert len(await sick.outages()) == 1
    assert len(await sick.findings()) == 1


async def test_reports_of_a_former_tenant_are_not_judged(sick: SickWorld) -> None:
    reservation = await sick.lease()
    await sick.tell(LOST_ROW)
    await sick.world.release(reservation)
    await sick.world.settle()
    await sick.pass_time(3)
    assert await sick.world.state() is State.AVAILABLE
    assert await sick.findings() == []


async def test_a_report_that_cannot_be_judged_stops_no_other(two: SickWorld) -> None:
    await two.tell({"state": "absent", "disks": ["a disk"]}, 0)
    await two.tell(DEAD_DISK, 1)
    await two.pass_time(9)
    assert await two.world.state(0) is State.AVAILABLE
    assert await two.world.state(1) is State.QUARANTINED


async def test_a_fault_that_comes_back_after_two_repairs_asks_for_a_replacement(
    sick: SickWorld,
) -> None:
    for _ in range(3):
        await sick.lease(hours=1)
        await sick.tell(REBOOT_ME)
        await sick.pass_time(2)
        verdict = await sick.verdict()
        await sick.world.turn(hours=1)
        await sick.pass_time(12)
    assert verdict is not None
    assert verdict.action is HealthAction.RMA
    assert await sick.world.state() is State.QUARANTINED


async def test_a_customer_whose_server_is_faulty_gets_another(two: SickWorld) -> None:
    reservation = await two.lease()
    first = await two.numbered(reservation)
    with pytest.raises(Refusal, match="no fault is known"):
        await two.swap(reservation)
    await two.tell(LOST_ROW, first)
    await two.pass_time(1)
    await two.swap(reservation)
    await two.pass_time(12)
    assert await two.numbered(reservation) != first
    assert await two.world.state(1 - first) is State.LEASED
    assert await two.world.state(first) is State.QUARANTINED
    old, new = await two.world.leases(reservation)
    assert old.end_reason == "moved"
    assert old.ended_at is not None
    assert new.ends_at == reservation.ends_at
    assert await two.world.reservation_state(reservation.id) is ReservationState.BOUND


async def test_a_swap_without_a_free_server_is_refused_and_changes_nothing(
    sick: SickWorld,
) -> None:
    reservation = await sick.lease()
    with pytest.raises(Refusal, match="no other server"):
        await sick.swap(reservation, by_operator=True)
    await sick.pass_time(2)
    assert await sick.world.state() is State.LEASED


async def test_a_customer_swaps_once_and_an_operator_always(two: SickWorld) -> None:
    reservation = await two.lease()
    await two.swap(reservation, by_operator=True)
    await two.pass_time(20)
    second = await two.numbered(reservation)
    await two.tell(LOST_ROW, second)
    await two.pass_time(1)
    with pytest.raises(Refusal, match="already swapped once"):
        await two.swap(reservation)
    await two.swap(reservation, by_operator=True)
    await two.world.release(reservation)
    await two.pass_time(12)
    assert await two.world.reservation_state(reservation.id) is ReservationState.ENDED


async def test_a_server_that_was_in_trouble_is_given_out_last(two: SickWorld) -> None:
    first = await two.lease(hours=1)
    lemon = await two.numbered(first)
    await two.tell(PENDING_ROW, lemon)
    await two.pass_time(1)
    await two.world.release(first)
    await two.heal(lemon)
    await two.pass_time(12)
    assert [s.state for s in await two.world.servers()] == [State.AVAILABLE] * 2
    # The other one is free for a shorter time now.
    second = await two.lease(hours=1)
    other = await two.numbered(second)
    await two.world.release(second)
    await two.pass_time(12)
    assert {lemon, other} == {0, 1}
    assert await two.numbered(await two.lease()) == other


async def test_the_health_of_a_server_that_waits_is_kept_as_good(sick: SickWorld) -> None:
    await sick.tell(WELL)
    await sick.pass_time(3)
    verdict = await sick.verdict()
    assert verdict is not None
    assert verdict.level is HealthLevel.OK
    assert await sick.world.state() is State.AVAILABLE


async def test_a_day_of_samples_is_kept_for_charts(sick: SickWorld) -> None:
    await sick.lease(hours=40)
    await sick.tell(gpu(temperature_c=40, power_w=300.0))
    assert sick.world.machine().running == TENANT
    await sick.pass_time(turns=27, seconds=3600)
    samples = await sick.samples()
    assert samples[-1].gpus[0]["temperature_c"] == 40
    assert samples[-1].at - samples[0].at <= timedelta(hours=25)
    assert len(samples) >= 24


async def test_nobody_was_silent_while_no_provisioner_ran(sick: SickWorld) -> None:
    await sick.lease()
    await sick.tell(gpu())
    await sick.pass_time(1)
    sick.world.clock.turn(minutes=30)
    sick.world.judge = sick.world.new_judge()
    await sick.world.judge.settle()
    assert await sick.kinds() == []
    sick.world.clock.turn(minutes=4)
    await sick.world.judge.settle()
    assert await sick.kinds() == ["silent"]
