"""A tenant's word about a fault is checked where it can be, and bounded where it cannot."""

from collections.abc import Awaitable, Callable

import pytest
from sick_world import DEAD_DISK, LOST_ROW, SOUND_DISK, WELL, SickWorld, gpu
from sqlmodel import select
from world import OPERATOR, World

from lab.simulated import RAMDISK
from provisioner.domain.health import HealthLevel
from provisioner.domain.health.fleet import BELIEVED
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import RequestVerb, State
from provisioner.incidents import close_breaker, open_site_incident
from provisioner.store.tables import Lease

FORGED = {"state": "absent", "disks": [{"name": "nvme0", "failure_predicted": 1}]}
"""A signal that is not read from a disk of this kind."""


@pytest.fixture
async def sick(world: World) -> SickWorld:
    return SickWorld(world)


@pytest.fixture
async def four(new_pool: Callable[[int], Awaitable[World]]) -> SickWorld:
    return SickWorld(await new_pool(4))


async def rented(sick: SickWorld, health: dict[str, object], times: int = 1) -> list[int]:
    """Lease servers, tell this as root on them, and give them back."""
    reservations = [await sick.world.reserve(hours=10) for _ in range(times)]
    await sick.world.settle()
    numbers = [await sick.numbered(reservation) for reservation in reservations]
    for number, reservation in zip(numbers, reservations, strict=True):
        await sick.tell(health, number)
        await sick.pass_time(2)
        await sick.world.release(reservation)
        await sick.pass_time(14)
    return numbers


@pytest.mark.parametrize("lie", [DEAD_DISK, FORGED])
async def test_a_disk_that_our_ramdisk_finds_sound_is_no_fault(
    sick: SickWorld, lie: dict[str, object]
) -> None:
    sick.shows(SOUND_DISK)
    await rented(sick, lie)
    assert await sick.world.state() is State.AVAILABLE
    verdict = await sick.verdict()
    assert verdict is not None
    assert (verdict.level, verdict.findings) == (HealthLevel.OK, ())
    assert await sick.kinds() == []


async def test_a_disk_that_our_ramdisk_finds_dead_too_is_quarantined(sick: SickWorld) -> None:
    sick.shows(DEAD_DISK)
    await rented(sick, DEAD_DISK)
    server = await sick.world.server()
    assert server.state is State.QUARANTINED
    assert "no longer reliable" in server.reason


async def test_nothing_is_offered_while_our_ramdisk_has_not_read_the_disk(sick: SickWorld) -> None:
    sick.shows(WELL)
    await rented(sick, DEAD_DISK)
    await sick.pass_time(8)
    server = await sick.world.server()
    assert server.state is State.VALIDATING
    assert "does not cover what the last tenant reported" in server.reason
    sick.shows(SOUND_DISK)
    await sick.world.rack.report(sick.world.machine())
    await sick.pass_time(10)
    assert await sick.world.state() is State.AVAILABLE


async def test_a_tenant_cannot_empty_the_pool(four: SickWorld) -> None:
    numbers = await rented(four, LOST_ROW, times=4)
    states = [await four.world.state(number) for number in numbers]
    assert states == [State.QUARANTINED] * BELIEVED + [State.AVAILABLE] * 2
    assert await four.kinds() == ["doubt"] * 2 + ["fault"] * BELIEVED
    doubts = [i for i in await four.world.incidents() if i.kind == "doubt"]
    assert all("c@example.org" in incident.reason for incident in doubts)
    assert all("rackctl server quarantine" in incident.next_action for incident in doubts)


async def test_servers_that_are_given_back_together_are_bounded_too(four: SickWorld) -> None:
    reservations = [await four.world.reserve(hours=10) for _ in range(4)]
    await four.world.settle()
    for number in range(4):
        await four.tell(LOST_ROW, number)
    await four.pass_time(2)
    for reservation in reservations:
        await four.world.release(reservation)
    await four.pass_time(20)
    states = sorted([server.state for server in await four.world.servers()])
    assert states == [State.AVAILABLE] * 2 + [State.QUARANTINED] * BELIEVED
    assert "breaker" not in await four.kinds()


async def test_a_server_that_is_doubted_is_offered_only_by_its_own_verdict(
    four: SickWorld,
) -> None:
    await rented(four, LOST_ROW, times=BELIEVED)
    reservation = await four.world.reserve(hours=10)
    await four.world.settle()
    number = await four.numbered(reservation)
    four.shows(DEAD_DISK, number)
    await four.tell(LOST_ROW, number)
    await four.pass_time(2)
    await four.world.release(reservation)
    await four.pass_time(14)
    assert await four.world.state(number) is State.QUARANTINED
    assert "no longer reliable" in (await four.world.server(number)).reason
    assert await four.kinds() == ["fault"] * (BELIEVED + 1)


async def test_an_account_is_believed_again_after_a_while(four: SickWorld) -> None:
    await rented(four, LOST_ROW, times=BELIEVED)
    await four.world.turn(days=31)
    await four.pass_time(3)
    (number,) = await rented(four, LOST_ROW)
    assert await four.world.state(number) is State.QUARANTINED


async def test_what_our_own_ramdisk_or_the_bmc_finds_is_held_against_nobody(
    four: SickWorld,
) -> None:
    for number in range(2):
        four.shows(DEAD_DISK, number)
        await four.world.rack.report(four.world.machine(number))
        await four.pass_time(turns=10, seconds=60)
    async with four.world.database.read() as session:
        assert [lease.unverified_fault_at for lease in await session.exec(select(Lease))] == []
    (number,) = await rented(four, LOST_ROW)
    assert await four.world.state(number) is State.QUARANTINED


async def test_a_doubt_ends_with_a_tenancy_without_the_fault(four: SickWorld) -> None:
    await rented(four, LOST_ROW, times=BELIEVED + 1)
    assert "doubt" in await four.kinds()
    for number in range(4):
        await four.heal(number)
    await rented(four, gpu(), times=2)
    assert "doubt" not in await four.kinds()


async def test_an_operator_who_believes_it_takes_the_server_out(four: SickWorld) -> None:
    numbers = await rented(four, LOST_ROW, times=BELIEVED + 1)
    await four.world.request(RequestVerb.QUARANTINE, numbers[-1], reason="faulty")
    await four.world.settle()
    assert await four.world.state(numbers[-1]) is State.QUARANTINED
    assert "doubt" not in await four.kinds()


async def test_what_the_breaker_held_back_is_bounded_when_it_closes(four: SickWorld) -> None:
    async with four.world.database.write() as session:
        await open_site_incident(session, IncidentKind.BREAKER, "", "", now=four.world.clock())
    await rented(four, LOST_ROW, times=4)
    assert {server.state for server in await four.world.servers()} == {State.AVAILABLE}
    breaker = await four.incident("breaker")
    async with four.world.database.write() as session:
        await close_breaker(session, breaker.id, actor=OPERATOR, now=four.world.clock())
    for number in range(4):
        await four.world.nudge(number)
    await four.pass_time(20)
    states = sorted([server.state for server in await four.world.servers()])
    assert states == [State.AVAILABLE] * 2 + [State.QUARANTINED] * BELIEVED
    assert four.world.machine(0).running == RAMDISK
