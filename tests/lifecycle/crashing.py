"""The main loop in a process that kills itself (SIGKILL) at one step, and its resumption.

The simulated servers' state is a file, so it is there after the crash, as hardware is.
"""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from world import CUSTOMER, Clock, World

from lab.simulated import OFF
from provisioner.domain.lifecycle import (
    ALLOWED,
    OPERATIONS,
    RAMDISK,
    RUNS,
    RequestVerb,
    State,
    Step,
    Verb,
)
from provisioner.lifecycle import operation
from provisioner.lifecycle.job import Job, Outcome
from provisioner.lifecycle.steps import SPECS
from provisioner.rental.reservations import release
from provisioner.store.database import Database
from provisioner.store.migrate import migrate

REQUESTS = {verb: request for request, verb in OPERATIONS.items()}
"""By the operation that carries it out."""

LATER = timedelta(minutes=1)
"""How much later the provisioner is started again: its claims have expired."""


@dataclass(frozen=True)
class Crash:
    """Where the process dies: before a step acts, or after it acted and before that is recorded."""

    verb: Verb
    step: Step
    acted: bool

    @property
    def cold(self) -> bool:
        """The step only runs when no ramdisk is waiting."""
        waits = (Verb.SANITISE, Verb.VALIDATE, Verb.IMAGE, Verb.INSTALL)
        return self.verb in waits and self.step in RAMDISK[1:]

    @property
    def requested(self) -> RequestVerb | None:
        """What has to be requested for the operation to run; None where a state runs it."""
        return None if self.verb in RUNS.values() else REQUESTS[self.verb]

    @property
    def on_lease(self) -> bool:
        return self.requested in ALLOWED[State.LEASED]


def prepare(folder: Path, beginning: str) -> None:
    """Play the loop up to where crashes begin, and end in good order."""
    asyncio.run(_play(folder, None, BEGINNINGS[beginning]))


def play_until_crash(folder: Path, crash: Crash) -> None:
    """Play to the end; never returns when the crash point is reached."""
    asyncio.run(_play(folder, crash, _story(crash)))


def play_on(folder: Path, crash: Crash) -> None:
    """A new process goes on where the last one died."""
    asyncio.run(_play(folder, None, _story(crash)))


def _story(crash: Crash) -> Callable[[World], Awaitable[None]]:
    if crash.requested is None:
        return play_loop
    play = play_request_on_lease if crash.on_lease else play_request_in_maintenance
    return partial(play, requested=crash.requested)


async def _play(
    folder: Path, crash: Crash | None, play: Callable[[World], Awaitable[None]]
) -> None:
    gc.disable()  # so short a life leaves little
    database = Database(f"sqlite:///{folder / 'ironlease.db'}")
    await migrate(database)
    lives = folder / "lives"
    lived = int(lives.read_text()) if lives.exists() else 0
    lives.write_text(str(lived + 1))
    world = World(database, folder, clock=Clock(LATER * lived), owner=str(os.getpid()))
    if not lived:
        await world.enrol()
    if crash is not None:
        _arm(world, crash)
    await play(world)
    await database.close()


async def reach_pool(world: World) -> None:
    await world.settle()


async def reach_lease(world: World) -> None:
    await world.settle()
    await world.reserve(hours=100)
    await world.settle()


async def reach_enrolment(world: World) -> None:
    """Nothing runs yet."""


BEGINNINGS = {"enrolled": reach_enrolment, "available": reach_pool, "leased": reach_lease}


async def play_loop(world: World) -> None:
    """Enrol to available, one tenancy with a secret on both disks, release, available again."""
    if not await world.leases():
        await world.settle()
        await world.reserve(hours=100)
    (lease,) = await world.leases()
    if not lease.end_reason:
        await world.settle()
        world.rack.write_secret(world.machine())
        async with world.database.write() as session:
            await release(session, lease.reservation_id, actor=CUSTOMER, now=world.clock())
    await world.settle()


async def play_request_on_lease(world: World, requested: RequestVerb) -> None:
    """A tenancy in which one thing is requested; it ends when that is done."""
    (lease,) = await world.leases()
    if not await world.requests():
        world.rack.write_secret(world.machine())
        await world.request(requested)
    if not lease.end_reason:
        await world.settle()
        async with world.database.write() as session:
            await release(session, lease.reservation_id, actor=CUSTOMER, now=world.clock())
    await world.settle()


async def play_request_in_maintenance(world: World, requested: RequestVerb) -> None:
    """Maintenance in which one thing is requested, and back into the pool."""
    if not await world.requests():
        await world.request(RequestVerb.MAINTAIN)
        await world.settle()
    if len(await world.requests()) == 1:
        await world.request(requested)
    if len(await world.requests()) == 2:
        await world.settle()
        world.rack.write_secret(world.machine())
        await world.request(RequestVerb.RESUME)
    await world.settle()


def _arm(world: World, crash: Crash) -> None:
    """Wrap the steps so that the process dies at the crash point."""

    def wrapped(
        step: Step, run: Callable[[Job], Awaitable[Outcome]]
    ) -> Callable[[Job], Awaitable[Outcome]]:
        async def armed(job: Job) -> Outcome:
            if crash.cold and job.verb is crash.verb and step is Step.FIND_RAMDISK:
                await _lose_ramdisk(world, job)
            here = job.verb is crash.verb and step is crash.step
            if here and not crash.acted:
                os.kill(os.getpid(), signal.SIGKILL)
            outcome = await run(job)
            if here:
                os.kill(os.getpid(), signal.SIGKILL)
            return outcome

        return armed

    operation.SPECS = {
        step: replace(spec, run=wrapped(step, spec.run)) for step, spec in SPECS.items()
    }


async def _lose_ramdisk(world: World, job: Job) -> None:
    """The machine goes off while it waits, long enough ago for its agent to be missed."""
    if job.operation.boots == 0:
        world.machine().running = OFF
        world.rack.save()
        world.clock.turn(minutes=1)
