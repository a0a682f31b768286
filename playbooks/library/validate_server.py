"""Check that the hardware is as inspected and reports itself healthy. Changes nothing.

Variables: `expect` {cpus, memory_mib, disks: [serial, …]}, `memory_tolerance` (so much of the
memory may be missing, as a fraction). Result: `validation`.
"""

from __future__ import annotations

import os

from module_utils.channel import ServerFault
from module_utils.disks import Disk, RawDisk, disks, read_sys
from module_utils.nvme import Controller, NvmeError

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from typing import Any


def memory_mib() -> int:
    with open("/proc/meminfo") as handle:
        total = next(line for line in handle if line.startswith("MemTotal:"))
    return int(total.split()[1]) // 1024


def disk_problems(disk: Disk) -> list[str]:
    """Read the first, middle and last block; a full read is left to longer tests."""
    found = []
    try:
        with RawDisk(disk) as raw:
            last = disk.size_bytes // disk.block_size - 1
            for block in (0, last // 2, last):
                raw.read(block * disk.block_size, disk.block_size)
    except OSError as error:
        found.append(f"disk {disk.serial} cannot be read: {error.strerror}")
    if read_sys(disk.sys + "/ro") == "1":
        found.append(f"disk {disk.serial} is read-only")
    if disk.nvme_namespace:
        try:
            with Controller(disk.path) as controller:
                warning = controller.critical_warning()
        except (NvmeError, OSError) as error:
            # "Could not run" is not a pass.
            found.append(f"disk {disk.serial}: its health log cannot be read: {error}")
        else:
            if warning:
                found.append(f"disk {disk.serial}: SMART critical warning {warning:#04x}")
    return found


def main(variables: dict[str, Any]) -> dict[str, Any]:
    expect, tolerance = variables["expect"], variables["memory_tolerance"]
    cpus, memory = os.cpu_count(), memory_mib()
    present = {disk.serial: disk for disk in disks()}
    wanted = set(expect["disks"])
    problems = []
    if cpus != expect["cpus"]:
        problems.append(f"{cpus} CPUs, but {expect['cpus']} were inspected")
    if memory < expect["memory_mib"] * (1 - tolerance):
        problems.append(f"{memory} MiB of memory, but {expect['memory_mib']} MiB were inspected")
    problems += [f"disk {serial} is missing" for serial in sorted(wanted - present.keys())]
    problems += [f"disk {serial} is new" for serial in sorted(present.keys() - wanted)]
    for serial in sorted(wanted & present.keys()):
        problems += disk_problems(present[serial])
    if problems:
        raise ServerFault(
            "; ".join(problems),
            "repair the server, or inspect it again if the hardware was changed on purpose",
            {"validation": {"problems": problems}},
        )
    summary = f"{len(wanted)} disks healthy, {cpus} CPUs, {memory} MiB"
    return {"validation": {"summary": summary, "cpus": cpus, "memory_mib": memory}}
