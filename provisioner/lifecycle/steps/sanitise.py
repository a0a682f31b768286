"""Sanitises each disk by its strongest method, verifies it, and issues a certificate per disk."""

from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.failures import Failure, FailureKind
from provisioner.domain.sanitisation import (
    LEVELS,
    SanitisationLevel,
    SanitisationMethod,
    SanitiseCapabilities,
    methods,
)
from provisioner.lifecycle.job import Done, Job, Outcome
from provisioner.store.tables import Disk, ErasureCertificate, Operation, Server


async def sanitise_disks(job: Job) -> Outcome:
    floor = job.snapshot.server_class.sanitisation_floor
    disks = job.snapshot.disks
    if not disks:
        raise _fault(job, "inspection found no disk, so nothing can be certified")
    orders = [{"serial": disk.serial, "methods": _methods(job, disk, floor)} for disk in disks]
    # By our clock, not the server's: it is compared with the time of last use.
    started_at = job.now()
    answer = await job.play("sanitise", {"disks": orders}, job.context.limits.sanitise)
    results = {result["serial"]: result for result in answer["results"]}
    for disk in disks:
        _require_proof(job, disk, results.get(disk.serial), floor)

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        for result in results.values():
            session.add(
                ErasureCertificate(
                    server_id=server.id,
                    operation_id=operation.id,
                    disk_serial=result["serial"],
                    method=result["method"],
                    level=LEVELS[SanitisationMethod(result["method"])],
                    started_at=started_at,
                    finished_at=job.now(),
                    evidence=result,
                )
            )

    return Done(
        ", ".join(f"{serial}: {result['method']}" for serial, result in results.items()), change
    )


def _methods(job: Job, disk: Disk, floor: SanitisationLevel) -> list[str]:
    possible = methods(SanitiseCapabilities(**disk.capabilities), floor)
    if not possible:
        raise _fault(job, f"disk {disk.serial} supports no method of level {floor.value}")
    return [method.value for method in possible]


def _require_proof(
    job: Job, disk: Disk, result: dict[str, Any] | None, floor: SanitisationLevel
) -> None:
    """Accept only a verified result for this disk, by a method that satisfies the floor."""
    if result is None:
        raise _fault(job, f"disk {disk.serial} was not sanitised")
    if result["verified"] is not True:
        raise _fault(job, f"disk {disk.serial} still holds data after {result['method']}")
    if not LEVELS[SanitisationMethod(result["method"])].satisfies(floor):
        raise _fault(job, f"disk {disk.serial}: {result['method']} is below {floor.value}")


def _fault(job: Job, reason: str) -> Failure:
    return Failure(
        reason,
        next_action="replace the disk or destroy it physically; "
        f"then: rackctl server repaired {job.server.name}",
        kind=FailureKind.SERVER_FAULT,
    )
