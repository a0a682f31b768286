"""A report or row that cannot be judged or recorded opens an incident and does not affect other
servers."""

from typing import Any

import pytest
from sick_world import DEAD_DISK, HUNG_DISKS, SickWorld
from world import World

from provisioner.domain.health import HealthLevel
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import RequestVerb, State
from provisioner.health import judge as judge_module
from provisioner.store.tables import ServerHealth

UNREADABLE = {"state": "absent", "disks": ["a disk"]}
REPORT = IncidentKind.REPORT.value


@pytest.fixture
def two(two_servers: World) -> SickWorld:
    return SickWorld(two_servers)


async def incident_servers(two: SickWorld) -> list[str | None]:
    return [i.server_id for i in await two.world.incidents() if i.kind == REPORT]


async def level(two: SickWorld, number: int) -> HealthLevel:
    verdict = await two.verdict(number)
    assert verdict is not None
    return verdict.level


async def test_a_report_that_cannot_be_judged_opens_an_incident_that_names_its_server(
    two: SickWorld,
) -> None:
    await two.tell(UNREADABLE, 0)
    await two.tell(HUNG_DISKS, 1)
    await two.world.judge.settle()
    incident = await two.incident(REPORT)
    assert incident.server_id == (await two.world.server(0)).id
    assert "cannot be judged" in incident.reason
    assert incident.next_action
    verdict = await two.verdict(1)
    assert verdict is not None
    assert verdict.level is not HealthLevel.OK


async def test_the_incident_is_closed_when_the_server_can_be_judged_again(two: SickWorld) -> None:
    await two.tell(UNREADABLE, 0)
    await two.world.judge.settle()
    await two.heal(0)
    restarted = two.world.new_judge()
    await restarted.settle()
    assert await incident_servers(two) == []


async def test_the_incident_is_closed_when_the_agent_is_gone(two: SickWorld) -> None:
    await two.tell(UNREADABLE, 0)
    await two.world.judge.settle()
    await two.world.request(RequestVerb.QUARANTINE)
    await two.world.settle()
    await two.world.request(RequestVerb.RETIRE)
    await two.world.settle()
    assert await two.world.state() is State.RETIRED
    two.world.clock.turn(minutes=1)
    await two.world.judge.settle()
    assert await incident_servers(two) == []


async def test_a_verdict_that_cannot_be_recorded_keeps_no_other_from_being_recorded(
    two: SickWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = (await two.world.server(0)).id
    record = judge_module.record

    async def picky(session: Any, judgement: Any, now: Any) -> bool:
        if judgement.server_id == bad:
            raise ValueError("no such column")
        return await record(session, judgement, now)

    await two.tell(DEAD_DISK, 0)
    await two.tell(DEAD_DISK, 1)
    with monkeypatch.context() as patched:
        patched.setattr(judge_module, "record", picky)
        await two.world.judge.settle()
    assert [await level(two, number) for number in (0, 1)] == [HealthLevel.OK, HealthLevel.FAULTY]
    assert await incident_servers(two) == [bad]
    await two.pass_time(1)
    assert await level(two, 0) is HealthLevel.FAULTY, "its next report is recorded"
    assert await incident_servers(two) == []


async def test_a_stored_verdict_that_cannot_be_read_keeps_no_other_server_unjudged(
    two: SickWorld,
) -> None:
    await two.world.judge.settle()
    bad = (await two.world.server(0)).id
    async with two.world.database.write() as session:
        (await session.get_one(ServerHealth, bad)).verdict = {"of": "another version"}
    await two.tell(HUNG_DISKS, 1)
    await two.world.new_judge().settle()
    verdict = await two.verdict(1)
    assert verdict is not None
    assert verdict.level is not HealthLevel.OK
    assert await incident_servers(two) == [bad]


async def test_samples_that_cannot_be_kept_keep_nothing_else_from_being_done(
    two: SickWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise ValueError("no such sample")

    monkeypatch.setattr(judge_module, "drawn", lambda _: [{"index": 0}])
    monkeypatch.setattr(judge_module, "keep", broken)
    await two.tell(DEAD_DISK, 1)
    await two.world.judge.settle()
    await two.world.reconciler.settle()
    assert await two.world.state(1) is State.QUARANTINED
    assert two.world.judge.status.failures == 1
