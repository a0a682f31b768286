"""kill -9 of the provisioner at every step of every operation, generated from the step list."""

import multiprocessing
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crashing import Crash, play_on, play_until_crash, prepare
from world import World

from lab.simulated import RAMDISK, SECRET
from provisioner.domain.lifecycle import STEPS, State, Step, Verb
from provisioner.domain.reservations import ReservationState
from provisioner.store.database import Database

CRASHES = [
    Crash(verb, step, acted)
    for verb, steps in STEPS.items()
    for step in steps
    for acted in (False, True)
]

_NEEDS_REPEATING = {
    Step.WRITE_IMAGE: "image",
    Step.SANITISE_DISKS: "sanitise",
    Step.COLLECT_FACTS: "inspect",
}
"""Work whose result is lost with the process must be done again, and only that."""


@pytest.fixture(scope="module")
def processes() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crashing"])
    return context


@pytest.fixture(scope="module")
def prepared(processes: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[Verb, Path]:
    """Where a crash of a late operation starts from: what comes before it was played once."""
    folders = {
        Verb.IMAGE: tmp_path_factory.mktemp("available"),
        Verb.RECLAIM: tmp_path_factory.mktemp("leased"),
    }
    for verb, folder in folders.items():
        assert _run(processes, prepare, folder, verb is Verb.RECLAIM) == 0
    return folders


def _name(crash: Crash) -> str:
    return f"{crash.verb.value}-{crash.step.value}-{'acted' if crash.acted else 'before'}"


@pytest.mark.parametrize("crash", CRASHES, ids=_name)
async def test_a_killed_provisioner_goes_on_at_its_step(
    processes: Any, prepared: dict[Verb, Path], tmp_path: Path, crash: Crash
) -> None:
    if crash.verb in prepared:
        shutil.copytree(prepared[crash.verb], tmp_path, dirs_exist_ok=True)
    assert _run(processes, play_until_crash, tmp_path, crash) == -signal.SIGKILL
    assert _run(processes, play_on, tmp_path) == 0

    database = Database(f"sqlite:///{tmp_path / 'ironlease.db'}")
    world = World(database, tmp_path)
    try:
        machine = world.machine()
        (lease,) = await world.leases()
        assert await world.state() is State.AVAILABLE
        assert (await world.snapshot()).sanitised
        assert machine.running == RAMDISK
        assert SECRET not in "".join(machine.disks.values())
        assert len(machine.tenants) == 1, "the tenant's system was started once"
        assert lease.ready_at is not None
        assert lease.ended_at is not None
        reservation_ended = await world.reservation_state(lease.reservation_id)
        assert reservation_ended is ReservationState.ENDED
        assert await world.incidents() == []
        for step, work in _NEEDS_REPEATING.items():
            once = 2 if work == "sanitise" else 1
            repeated = crash.step is step and crash.acted
            assert machine.counts[work] == once + repeated, work
        # One boot at enrolment, one to take it back, one more where the ramdisk was lost.
        assert machine.counts["ramdisk_boots"] <= 2 + crash.cold
    finally:
        await database.close()


def test_every_step_of_every_operation_is_covered() -> None:
    assert {(crash.verb, crash.step) for crash in CRASHES} == {
        (verb, step) for verb in Verb for step in STEPS[verb]
    }


def _run(processes: Any, target: Callable[..., None], *arguments: Any) -> int:
    process = processes.Process(target=target, args=arguments)
    process.start()
    process.join(timeout=120)
    assert process.exitcode is not None, "the process did not end"
    return int(process.exitcode)
