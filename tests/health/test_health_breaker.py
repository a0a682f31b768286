"""The circuit breaker: many servers turn faulty at once, and no more of them are quarantined."""

from collections.abc import Awaitable, Callable

import pytest
from sick_world import DEAD_DISK, LOST_ROW, WELL, SickWorld
from sqlmodel import select
from world import OPERATOR, World

from provisioner.domain.lifecycle import State
from provisioner.domain.refusals import Refusal
from provisioner.incidents import close_breaker
from provisioner.store.tables import AuditEvent

SERVERS = 4


@pytest.fixture
async def four(new_pool: Callable[[int], Awaitable[World]]) -> SickWorld:
    return SickWorld(await new_pool(SERVERS))


async def _close(sick: SickWorld, incident_id: str) -> None:
    async with sick.world.database.write() as session:
        await close_breaker(session, incident_id, actor=OPERATOR, now=sick.world.clock())


async def _quarantined(sick: SickWorld) -> int:
    servers = await sick.world.servers()
    return sum(server.state is State.QUARANTINED for server in servers)


async def _break(sick: SickWorld, count: int = 3) -> None:
    for number in range(count):
        await sick.tell(DEAD_DISK, number)


async def test_servers_that_turn_faulty_together_are_not_quarantined_but_told_once(
    four: SickWorld,
) -> None:
    await _break(four)
    await four.pass_time(10)
    assert await _quarantined(four) == 0
    assert await four.kinds() == ["breaker"]
    incident = await four.incident("breaker")
    assert incident.server_id is None
    assert incident.reason.startswith("3 of 4 servers turned faulty")
    assert "disk_failing" in incident.reason
    assert f"rackctl incident close {incident.id}" in incident.next_action


async def test_while_the_breaker_is_open_servers_stay_bookable_and_it_outlives_the_process(
    four: SickWorld,
) -> None:
    await _break(four)
    await four.pass_time(10)
    four.world.judge = four.world.new_judge()
    four.world.reconciler = four.world.new_reconciler("another")
    await four.pass_time(10)
    assert await _quarantined(four) == 0
    reservation = await four.world.reserve()
    assert await four.numbered(reservation) == SERVERS - 1, "the well one"


async def test_quarantining_goes_on_when_a_person_closes_the_incident(four: SickWorld) -> None:
    await _break(four)
    await four.pass_time(10)
    incident = await four.incident("breaker")
    await _close(four, incident.id)
    await _close(four, incident.id)
    await four.pass_time(8)
    assert await _quarantined(four) == 3
    assert await four.kinds() == ["fault"] * 3
    async with four.world.database.read() as session:
        events = await session.exec(select(AuditEvent).where(AuditEvent.subject == incident.id))
        assert [event.actor for event in events] == [OPERATOR.name]


async def test_servers_that_turn_faulty_one_after_the_other_are_quarantined(
    four: SickWorld,
) -> None:
    for number in range(3):
        await four.tell(DEAD_DISK, number)
        await four.pass_time(turns=10, seconds=60)
    assert await _quarantined(four) == 3
    assert "breaker" not in await four.kinds()


async def test_healed_servers_are_let_alone_when_the_breaker_closes(four: SickWorld) -> None:
    await _break(four)
    await four.pass_time(10)
    for number in range(3):
        await four.tell(WELL, number)
    await four.pass_time(turns=12, seconds=60)
    await _close(four, (await four.incident("breaker")).id)
    await four.pass_time(8)
    assert await _quarantined(four) == 0


async def test_an_account_that_tells_all_its_servers_faulty_does_not_open_it(
    four: SickWorld,
) -> None:
    reservations = [await four.world.reserve(hours=10) for _ in range(3)]
    await four.world.settle()
    for reservation in reservations:
        await four.tell(LOST_ROW, await four.numbered(reservation))
    await four.pass_time(3)
    assert await four.kinds() == ["health"] * 3
    spare = ({0, 1, 2, 3} - {await four.numbered(r) for r in reservations}).pop()
    await four.tell(DEAD_DISK, spare)
    await four.pass_time(8)
    assert await four.world.state(spare) is State.QUARANTINED


async def test_no_other_incident_is_closed_by_hand(four: SickWorld) -> None:
    await four.tell(DEAD_DISK)
    await four.pass_time(8)
    with pytest.raises(Refusal, match="closes when what it reports is over"):
        await _close(four, (await four.incident("fault")).id)
    with pytest.raises(Refusal, match="no incident"):
        await _close(four, "inc_none")
