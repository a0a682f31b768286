"""The wipe: each disk by the strongest method it supports, read back, one certificate each."""

from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.failures import Failure, FailureKind
from provisioner.domain.sanitisation import LEVELS, EraseCapabilities, Level, Method, methods
from provisioner.lifecycle.job import Done, Job, Outcome
from provisioner.store.tables import Disk, EraseCertificate, Operation, Server


async def wipe(job: Job) -> Outcome:
    floor = job.snapshot.server_class.erase_floor
    disks = job.snapshot.disks
    if not disks:
        raise _fault(job, "inspection found no disk, so nothing can be certified")
    orders = [{"serial": disk.serial, "methods": _methods(job, disk, floor)} for disk in disks]
    # Our clock, not the server's: certificates are compared with the last use by it.
    started_at = job.now()
    answer = await job.play("wipe", {"disks": orders}, job.context.limits.wipe)
    erasures = {erasure["serial"]: erasure for erasure in answer["erasures"]}
    for disk in disks:
        _require_proof(job, disk, erasures.get(disk.serial), floor)

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        for erasure in erasures.values():
            session.add(
                EraseCertificate(
                    server_id=server.id,
                    operation_id=operation.id,
                    disk_serial=erasure["serial"],
                    method=erasure["method"],
                    level=LEVELS[Method(erasure["method"])],
                    started_at=started_at,
                    finished_at=job.now(),
                    evidence=erasure,
                )
            )

    return Done(
        ", ".join(f"{serial}: {erasure['method']}" for serial, erasure in erasures.items()), change
    )


def _methods(job: Job, disk: Disk, floor: Level) -> list[str]:
    possible = methods(EraseCapabilities(**disk.capabilities), floor)
    if not possible:
        raise _fault(job, f"disk {disk.serial} supports no method of level {floor.value}")
    return [method.value for method in possible]


def _require_proof(job: Job, disk: Disk, erasure: dict[str, Any] | None, floor: Level) -> None:
    """Only a read-back counts, and only of the disk, by the method, that we asked for."""
    if erasure is None:
        raise _fault(job, f"disk {disk.serial} was not erased")
    if erasure["verified"] is not True:
        raise _fault(job, f"disk {disk.serial} still holds data after {erasure['method']}")
    if not LEVELS[Method(erasure["method"])].satisfies(floor):
        raise _fault(job, f"disk {disk.serial}: {erasure['method']} is below {floor.value}")


def _fault(job: Job, reason: str) -> Failure:
    return Failure(
        reason,
        next_action="replace the disk or destroy it physically; "
        f"then: rackctl server repaired {job.server.name}",
        kind=FailureKind.SERVER_FAULT,
    )
