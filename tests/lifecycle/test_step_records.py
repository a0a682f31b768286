"""What the record of a step says afterwards: a test for every way in which a step can end."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import col, select
from world import World

from provisioner.domain.lifecycle import OperationState, RequestVerb, State, Step, StepOutcome, Verb
from provisioner.domain.retries import BOOTS
from provisioner.lifecycle import operation
from provisioner.lifecycle.job import Job, Outcome
from provisioner.lifecycle.steps import SPECS
from provisioner.store.tables import Boot, Incident, Operation, StepRecord

Run = Callable[[Job], Awaitable[Outcome]]


async def records(world: World, verb: Verb, *steps: Step) -> list[tuple[Step, StepOutcome]]:
    """Of the operations of a verb, in order: what became of each of these steps."""
    async with world.database.read() as session:
        found = await session.exec(
            select(StepRecord)
            .join(Operation, col(Operation.id) == col(StepRecord.operation_id))
            .where(Operation.verb == verb)
            .order_by(col(StepRecord.started_at), col(StepRecord.id))
        )
        return [(row.step, row.outcome) for row in found if not steps or row.step in steps]


def with_step(monkeypatch: pytest.MonkeyPatch, step: Step, wrap: Callable[[Run], Run]) -> None:
    wrapped = replace(SPECS[step], run=wrap(SPECS[step].run))
    monkeypatch.setattr(operation, "SPECS", {**SPECS, step: wrapped})


async def test_a_ramdisk_that_waits_is_found_and_its_boot_is_skipped(world: World) -> None:
    await world.reserve()
    await world.settle()
    assert (await records(world, Verb.IMAGE))[:2] == [
        (Step.FIND_RAMDISK, StepOutcome.SKIPPED),
        (Step.WRITE_IMAGE, StepOutcome.DONE),
    ]


async def test_a_boot_that_failed_went_back_and_is_not_skipped(enrolled: World) -> None:
    enrolled.machine().faults.append("no_dhcp")
    await enrolled.passes(40, minutes=1)
    assert await records(enrolled, Verb.INSPECT, Step.AWAIT_RAMDISK) == [
        *[(Step.AWAIT_RAMDISK, StepOutcome.BACK)] * (BOOTS - 1),
        (Step.AWAIT_RAMDISK, StepOutcome.FAILED),
    ]


async def test_a_boot_that_was_closed_meanwhile_went_back(
    enrolled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close_boot() -> None:
        async with enrolled.database.write() as session:
            for boot in await session.exec(select(Boot)):
                boot.closed_at = boot.closed_at or enrolled.clock()

    def closing_first(run: Run) -> Run:
        async def armed(job: Job) -> Outcome:
            outcome = await run(job)
            if job.operation.boots == 0:
                await close_boot()
            return outcome

        return armed

    with_step(monkeypatch, Step.POWER_ON, closing_first)
    await enrolled.settle()
    assert await records(enrolled, Verb.INSPECT, Step.AWAIT_RAMDISK) == [
        (Step.AWAIT_RAMDISK, StepOutcome.BACK),
        (Step.AWAIT_RAMDISK, StepOutcome.DONE),
    ]


async def test_an_image_that_could_not_be_written_went_back_to_a_power_cycle(
    world: World,
) -> None:
    world.machine().faults.append("hung_disk")
    await world.reserve()
    await world.settle()
    assert await records(world, Verb.IMAGE, Step.WRITE_IMAGE) == [
        (Step.WRITE_IMAGE, StepOutcome.BACK),
        (Step.WRITE_IMAGE, StepOutcome.DONE),
    ]


async def test_a_step_that_waits_says_so(enrolled: World) -> None:
    enrolled.machine().faults.append("no_dhcp")
    await enrolled.passes(2, seconds=1)
    assert (await records(enrolled, Verb.INSPECT))[-1] == (
        Step.AWAIT_RAMDISK,
        StepOutcome.WAITING,
    )


async def test_a_step_that_the_provisioner_did_not_finish_was_interrupted(
    enrolled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed_once(run: Run) -> Run:
        lives = iter([Killed()])

        async def armed(job: Job) -> Outcome:
            for death in lives:
                raise death
            return await run(job)

        return armed

    with_step(monkeypatch, Step.COLLECT_FACTS, killed_once)
    await enrolled.passes(15, seconds=4)
    assert await records(enrolled, Verb.INSPECT, Step.COLLECT_FACTS) == [
        (Step.COLLECT_FACTS, StepOutcome.INTERRUPTED),
        (Step.COLLECT_FACTS, StepOutcome.DONE),
    ]


async def test_a_step_is_interrupted_when_its_servers_state_is_left(enrolled: World) -> None:
    enrolled.machine().faults.append("no_dhcp")
    await enrolled.passes(2, seconds=1)
    await enrolled.request(RequestVerb.QUARANTINE)
    await enrolled.passes(2, seconds=1)
    assert await enrolled.state() is State.QUARANTINED
    assert (await records(enrolled, Verb.INSPECT))[-1] == (
        Step.AWAIT_RAMDISK,
        StepOutcome.INTERRUPTED,
    )


class Defects:
    """Defects of ours in a step, one at each attempt until they are used up, or for ever."""

    def __init__(self, *defects: Exception, forever: bool = False) -> None:
        self.left = list(defects)
        self.forever = forever
        self.told: list[tuple[str, str]] = []
        """The server's reason and next action, as each attempt found them."""

    def __call__(self, run: Run) -> Run:
        async def armed(job: Job) -> Outcome:
            self.told.append((job.server.reason, job.server.next_action))
            if self.left:
                raise self.left[0] if self.forever else self.left.pop(0)
            return await run(job)

        return armed


async def all_incidents(world: World) -> list[Incident]:
    async with world.database.read() as session:
        return list(await session.exec(select(Incident)))


async def test_a_defect_in_a_step_is_told_by_the_server_at_once_and_tried_again(
    enrolled: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    defects = Defects(KeyError("facts"), KeyError("facts"))
    with_step(monkeypatch, Step.COLLECT_FACTS, defects)
    await enrolled.settle()
    (_, (reason, next_action), _) = defects.told
    assert "KeyError: 'facts'" in reason
    assert next_action
    assert await enrolled.state() is State.AVAILABLE
    assert (await enrolled.server()).reason == ""
    assert await all_incidents(enrolled) == []
    assert await records(enrolled, Verb.INSPECT, Step.COLLECT_FACTS) == [
        (Step.COLLECT_FACTS, StepOutcome.FAILED),
        (Step.COLLECT_FACTS, StepOutcome.FAILED),
        (Step.COLLECT_FACTS, StepOutcome.DONE),
    ]
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_the_same_defect_three_times_parks_the_operation_and_opens_an_incident(
    enrolled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    defects = Defects(KeyError("facts"), forever=True)
    with_step(monkeypatch, Step.COLLECT_FACTS, defects)
    await enrolled.passes(6, seconds=6)
    (incident,) = await enrolled.incidents()
    assert incident.kind == "step"
    assert "collect_facts: " in incident.reason
    assert "KeyError: 'facts'" in incident.reason
    assert incident.next_action
    snapshot = await enrolled.snapshot()
    assert snapshot.operation is not None
    assert snapshot.operation.state is OperationState.PARKED
    defects.left.clear()
    await enrolled.turn(minutes=2)
    await enrolled.settle()
    assert await enrolled.state() is State.AVAILABLE
    assert await enrolled.incidents() == []


async def test_different_defects_are_counted_each_for_itself(
    enrolled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    defects = [KeyError(), KeyError(), TypeError(), KeyError()]
    with_step(monkeypatch, Step.COLLECT_FACTS, Defects(*defects))
    await enrolled.settle()
    assert await enrolled.state() is State.AVAILABLE
    assert await all_incidents(enrolled) == []


async def test_a_defect_in_writing_a_result_down_is_a_defect_of_the_step(
    enrolled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwritable(run: Run) -> Run:
        async def armed(job: Job) -> Outcome:
            outcome: Any = await run(job)

            async def change(*_: Any) -> None:
                raise ZeroDivisionError("a result\0 that cannot be written")

            return replace(outcome, change=change)

        return armed

    with_step(monkeypatch, Step.COLLECT_FACTS, unwritable)
    await enrolled.passes(9, seconds=3)
    (incident,) = await enrolled.incidents()
    assert "ZeroDivisionError: a result\ufffd that cannot be written" in incident.reason
