"""Requested power steps: shut down, switch on, reset. They do not check that a system starts."""

from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.lifecycle import State
from provisioner.drivers.bmc import Power, PowerAction
from provisioner.lifecycle.job import Change, Done, Job, Outcome, Wait
from provisioner.lifecycle.steps.ramdisk import close_boots, note_off, reach_power
from provisioner.store.tables import Lease, Operation, Server

_LOOK = timedelta(seconds=2)
_PRESS_AGAIN = timedelta(seconds=30)
"""A system that is still starting misses the button."""


async def shut_down(job: Job) -> Outcome:
    """Press the power button; cut the power if the server does not shut down in time."""
    target = job.bmc_target()
    if await job.drivers.bmc.power(target) is Power.OFF:
        return Done("power is off", note_off(job))
    if job.step_age() < job.context.limits.shutdown:
        presses = job.operation.memo.get("presses", 0)
        if job.step_age() >= presses * _PRESS_AGAIN:
            job.log("asking the system to shut down")
            await job.drivers.bmc.set_power(target, PowerAction.SHUTDOWN)
            await job.commit(_remember(presses + 1))
        return Wait(_LOOK.total_seconds(), "the system is shutting down")
    if not await reach_power(job, Power.OFF, PowerAction.OFF):
        return Wait(_LOOK.total_seconds(), "the BMC accepted power off; the server is still on")
    return Done("it did not shut down in time: the power was cut", note_off(job))


def _remember(presses: int) -> Change:
    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        operation.memo = {**operation.memo, "presses": presses}

    return change


async def switch_on(job: Job) -> Outcome:
    """Switch on with the firmware's boot order; the boot service decides what may boot. On a leased
    server, a ramdisk left by a failed reinstallation is switched off first."""
    in_ramdisk = job.server.state is State.LEASED and job.snapshot.boot is not None
    if in_ramdisk and not await reach_power(job, Power.OFF, PowerAction.OFF):
        return Wait(_LOOK.total_seconds(), "the BMC accepted power off; the server is still on")
    if not await reach_power(job, Power.ON, PowerAction.ON):
        return Wait(_LOOK.total_seconds(), "the BMC accepted power on; the server is still off")
    return Done("power is on", note_on(job))


async def reset(job: Job) -> Outcome:
    target = job.bmc_target()
    running = await job.drivers.bmc.power(target) is Power.ON
    await job.drivers.bmc.set_power(target, PowerAction.RESET if running else PowerAction.ON)
    return Done("reset" if running else "power was off: it was switched on", note_on(job))


def note_on(job: Job) -> Change:
    """Record that the server was started: its ramdisk is gone, and its agent reports soon."""

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        await close_boots(job)(session, server, operation)
        if server.state is State.LEASED and job.snapshot.lease is not None:
            lease = await session.get_one(Lease, job.snapshot.lease.id)
            lease.stopped_at, lease.started_at = None, job.now()

    return change
