"""Hardware steps: inspection against the inventory, checks and health before the pool."""

from typing import Any

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.failures import Failure, FailureKind
from provisioner.domain.hardware import MEMORY_TOLERANCE, differences, require_facts
from provisioner.domain.health import unverified
from provisioner.lifecycle.job import Done, Job, Outcome, Wait
from provisioner.store.tables import Disk, Operation, Server


async def collect_facts(job: Job) -> Outcome:
    """Inspect the hardware; a server that differs from its inventory is quarantined."""
    answer = await job.play("inspect", {}, job.context.limits.play)
    facts: dict[str, Any] = _facts(answer)

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        server.facts = facts
        await _record_disks(session, server, facts["disks"], job)

    await job.commit(change)
    found = differences({"serial": job.server.serial, **job.server.expect}, facts)
    for difference in found:
        job.log(difference)
    if found:
        raise Failure(
            "the server differs from its inventory: " + "; ".join(found),
            next_action="correct the hardware, or the inventory (rackctl enrol); "
            f"then: rackctl server repaired {job.server.name}",
            kind=FailureKind.SERVER_FAULT,
        )
    return Done(f"{len(facts['disks'])} disks, {facts['cpus']} CPUs, {facts['memory_mib']} MiB")


def _facts(answer: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = answer["facts"]
    try:
        require_facts(facts)
    except ValueError as error:
        raise Failure(
            f"inspection found what cannot be recorded: {error}",
            next_action="look at that part of the server and its firmware; if it is in order, this "
            "is a bug of the playbook `inspect` to report",
            kind=FailureKind.SERVER_FAULT,
        ) from error
    return facts


async def _record_disks(
    session: AsyncSession, server: Server, found: list[dict[str, Any]], job: Job
) -> None:
    rows = await session.exec(select(Disk).where(Disk.server_id == server.id))
    known = {disk.serial: disk for disk in rows}
    for disk in known.values():
        disk.present = False
    for fact in found:
        disk = known.get(fact["serial"]) or Disk(server_id=server.id, serial=fact["serial"])
        disk.model = fact["model"]
        disk.firmware = fact["firmware"]
        disk.transport = fact["transport"]
        disk.size_bytes = fact["size_bytes"]
        disk.capabilities = fact["capabilities"]
        disk.present = True
        disk.seen_at = job.now()
        session.add(disk)


async def check_hardware(job: Job) -> Outcome:
    """Compare the hardware with the last inspection before the server is offered."""
    answer = await job.play(
        "validate",
        {
            "expect": {
                "cpus": job.server.facts["cpus"],
                "memory_mib": job.server.facts["memory_mib"],
                "disks": [disk.serial for disk in job.snapshot.disks],
            },
            "memory_tolerance": MEMORY_TOLERANCE,
        },
        job.context.limits.play,
    )
    return Done(str(answer["validation"].get("summary", "hardware is as inspected")))


async def await_verdict(job: Job) -> Outcome:
    """Offer nothing on the word of an earlier boot, or from before a repair."""
    agent, verdict = job.snapshot.agent, job.snapshot.verdict
    seen_at = job.snapshot.agent_seen_at()
    if agent is None or not agent.report or seen_at is None or seen_at < job.server.last_used_at:
        missing, kind = "has not arrived", FailureKind.TRANSIENT
        next_action = f"look for the agent on the console of {job.server.name}"
    elif verdict is None or verdict.boot_id != agent.report.get("boot_id"):
        missing, kind = "has not been judged", FailureKind.CONFIGURATION
        next_action = "see the judge in `rackctl status`, and this server in the provisioner's log"
    elif (claim := unverified(verdict)) is not None:
        missing = f"does not cover what the last tenant reported ({claim.summary})"
        kind = FailureKind.TRANSIENT
        next_action = f"look for the agent on the console of {job.server.name}"
    else:
        return Done(verdict.summary)
    missing = f"the report of the ramdisk's agent {missing}"
    if job.step_age() < job.context.limits.verdict:
        return Wait(1, missing)
    raise Failure(f"its health is unknown: {missing}", next_action=next_action, kind=kind)
