"""kill -9 of the provisioner at every step of every operation, generated from the step list."""

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crashing import BEGINNINGS, REQUESTS, Crash, play_on, play_until_crash, prepare
from world import World

from lab.simulated import RAMDISK, SECRET
from provisioner.domain.lifecycle import (
    ALLOWED,
    RUNS,
    STEPS,
    RequestOutcome,
    State,
    Step,
    Verb,
)
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

_ONCE = {"image": 1, "sanitise": 2, "inspect": 1}
"""How often each work is done in a whole loop."""


_STARTS = {
    Verb.REINSTALL: 1,
    Verb.INSTALL: 1,
    Verb.STOP: 0,
    Verb.START: 0,
    Verb.REBOOT: 1,
    Verb.POWER_OFF: 0,
    Verb.POWER_CYCLE: 1,
    Verb.RESET: 0,
}
"""How often a request starts the system on the disk."""


@pytest.fixture(scope="module")
def processes() -> Iterator[Any]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crashing_warm"])
    with pytest.MonkeyPatch.context() as patch:
        # Before Python 3.12.4 the fork server forgets sys.path, and skips what it cannot import.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        yield context


@pytest.fixture(scope="module")
def prepared(processes: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[Verb, Path]:
    """Where a crash of an operation starts from: what comes before it was played once."""
    folders = {beginning: tmp_path_factory.mktemp(beginning) for beginning in BEGINNINGS}
    for beginning, folder in folders.items():
        assert _run(processes, prepare, folder, beginning) == 0
    early = dict.fromkeys(RUNS.values(), folders["enrolled"])
    late = {Verb.IMAGE: folders["available"], Verb.RECLAIM: folders["leased"]}
    return (
        early
        | late
        | {
            verb: folders["leased" if request in ALLOWED[State.LEASED] else "available"]
            for verb, request in REQUESTS.items()
            if verb not in RUNS.values()
        }
    )


def _name(crash: Crash) -> str:
    return f"{crash.verb.value}-{crash.step.value}-{'acted' if crash.acted else 'before'}"


@pytest.mark.parametrize("crash", CRASHES, ids=_name)
async def test_a_killed_provisioner_goes_on_at_its_step(
    processes: Any, prepared: dict[Verb, Path], tmp_path: Path, crash: Crash
) -> None:
    shutil.copytree(prepared[crash.verb], tmp_path, dirs_exist_ok=True)
    assert _run(processes, play_until_crash, tmp_path, crash) == -signal.SIGKILL
    assert _run(processes, play_on, tmp_path, crash) == 0

    database = Database(f"sqlite:///{tmp_path / 'ironlease.db'}")
    world = World(database, tmp_path)
    try:
        await check_pool(world)
        if crash.requested is None:
            await check_loop(world, crash)
        else:
            await check_request(world, crash)
    finally:
        await database.close()


async def check_pool(world: World) -> None:
    """The server is back, and nothing of its tenant is on it."""
    machine = world.machine()
    assert await world.state() is State.AVAILABLE
    assert (await world.snapshot()).sanitised
    assert machine.running == RAMDISK
    assert SECRET not in "".join(machine.disks.values())
    assert await world.incidents() == []
    for lease in await world.leases():
        assert lease.ready_at is not None
        assert lease.ended_at is not None
        reservation_ended = await world.reservation_state(lease.reservation_id)
        assert reservation_ended is ReservationState.ENDED


async def check_loop(world: World, crash: Crash) -> None:
    machine = world.machine()
    assert len(await world.leases()) == 1
    assert len(machine.tenants) == 1, "the tenant's system was started once"
    for step, work in _NEEDS_REPEATING.items():
        repeated = crash.step is step and crash.acted
        assert machine.counts[work] == _ONCE[work] + repeated, work
    # One boot at enrolment, one to take it back, one more where the ramdisk was lost.
    assert machine.counts["ramdisk_boots"] <= 2 + crash.cold


async def check_request(world: World, crash: Crash) -> None:
    """It was carried out once, but for what is lost with the process, or may happen twice."""
    machine = world.machine()
    assert {request.outcome for request in await world.requests()} == {RequestOutcome.DONE}
    writes = Step.WRITE_IMAGE in STEPS[crash.verb]
    repeated = crash.step is Step.WRITE_IMAGE and crash.acted
    assert machine.counts.get("image", 0) == crash.on_lease + writes + repeated
    assert machine.counts.get("power_button", 0) <= 1 + (crash.step is Step.SHUT_DOWN)
    assert len(machine.tenants) == crash.on_lease + _STARTS[crash.verb]


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
