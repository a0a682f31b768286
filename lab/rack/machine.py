"""One server's machine: a QEMU process that comes and goes with its power.

It keeps what a server keeps without power: the boot device set by its BMC, its cable, its disks'
faults. The serial line outlives the machine in its hub.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
from dataclasses import dataclass
from typing import Literal

from lab.rack import qemu
from lab.rack.child import end, spawn
from lab.rack.errors import RackError
from lab.rack.namespaces import fabric, open_tap
from lab.rack.plan import DiskPlan, RackPlan, ServerPlan
from lab.rack.qmp import Qmp
from lab.rack.serial_hub import SerialHub

BootDevice = Literal["default", "pxe"]

log = logging.getLogger(__name__)


@dataclass
class _Run:
    """One power-on: the process and the wires to it."""

    process: asyncio.subprocess.Process
    qmp: Qmp
    serial: asyncio.Task[None]


class Machine:
    def __init__(self, rack: RackPlan, server: ServerPlan, acceleration: str) -> None:
        self.hub = SerialHub(rack.console_log(server.name))
        self.boot: BootDevice = "default"
        """Boot device of the next start; `pxe` holds for one start.

        The BMC software passes on no IPMI boot flag but the device.
        """
        self.own_boot_entry = False
        """A firmware boot entry, as root can write: it starts the disk, whatever the BMC says."""
        self.starts = 0
        self.disk_faults: dict[str, str] = {}
        self.cable_plugged = True
        self.without_power = asyncio.Event()
        self.without_power.set()
        self._rack = rack
        self._server = server
        self._acceleration = acceleration
        self._run: _Run | None = None
        self._watching: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    def prepare(self) -> None:
        """Create the disks (sparse) and the UEFI variables in factory state."""
        for disk in self._server.disks:
            with disk.path.open("wb") as file:
                file.truncate(disk.size)
        if self._server.options.firmware == "uefi":
            shutil.copyfile(qemu.UEFI_VARIABLES, qemu.uefi_variables(self._rack, self._server))

    @property
    def pid(self) -> int | None:
        """Process id of the machine; None without power."""
        return self._run.process.pid if self._run else None

    async def power_on(self) -> None:
        async with self._lock:
            if self._run is None:
                await self._start()

    async def power_off(self) -> None:
        async with self._lock:
            await self._stop()

    async def reset(self) -> None:
        """Restart a running machine; one without power stays off."""
        async with self._lock:
            if self._run is not None:
                await self._stop()
                await self._start()

    async def press_power_button(self) -> None:
        """Ask the operating system to shut down (ACPI)."""
        if self._run is not None:
            await self._run.qmp.execute("system_powerdown")

    async def set_cable(self, *, plugged: bool) -> None:
        """Plug or unplug the server's NIC, as its operating system sees it."""
        self.cable_plugged = plugged
        async with self._lock:
            if self._run is not None:
                await self._apply_cable(self._run.qmp)

    async def set_disk_fault(self, serial: str, fault: str | None) -> None:
        """Have a disk fail (`break`, `fill`) or work again (None), at once and on later starts.

        Raises RackError if the server has no such disk.
        """
        disk = self._disk(serial)
        async with self._lock:
            before = self.disk_faults.pop(serial, None)
            if fault is not None:
                self.disk_faults[serial] = fault
            if self._run is not None and before != fault:
                await self._swap_fault(self._run.qmp, disk, before, fault)

    async def close(self) -> None:
        await self.power_off()
        self.hub.close()

    def _disk(self, serial: str) -> DiskPlan:
        for disk in self._server.disks:
            if disk.serial == serial:
                return disk
        known = ", ".join(disk.serial for disk in self._server.disks)
        raise RackError(f"{self._server.name} has no disk {serial!r}; it has {known}")

    async def _start(self) -> None:
        network_first = self.boot == "pxe" and not self.own_boot_entry
        self.boot = "default"
        serial, machine_serial = socket.socketpair()
        monitor, machine_monitor = socket.socketpair()
        tap = open_tap(fabric(self._rack.name), self._server.name)
        with machine_serial, machine_monitor, os.fdopen(tap, "rb+", buffering=0):
            command = qemu.command_line(
                self._rack,
                self._server,
                acceleration=self._acceleration,
                network_first=network_first,
                serial_fd=machine_serial.fileno(),
                monitor_fd=machine_monitor.fileno(),
                tap_fd=tap,
                disk_faults=self.disk_faults,
            )
            process = await spawn(
                command,
                self._rack.run / f"{self._server.name}.qemu.log",
                pass_fds=(machine_serial.fileno(), machine_monitor.fileno(), tap),
            )
        run = _Run(process, await Qmp.connect(monitor), await self.hub.attach(serial))
        self._run = run
        self.without_power.clear()
        self.starts += 1
        self._watching = asyncio.create_task(self._watch(run))
        if not self.cable_plugged:
            await self._apply_cable(run.qmp)

    async def _stop(self) -> None:
        if self._run is not None:
            run, self._run = self._run, None
            await end(run.process)
            self.without_power.set()

    async def _watch(self, run: _Run) -> None:
        await run.process.wait()
        await asyncio.gather(run.qmp.closed(), run.serial)
        async with self._lock:
            if self._run is not run:
                return  # ended by its power, which did the rest
            self._run = None
            log.info(
                "%s ended by itself (%s, exit status %s)",
                self._server.name,
                run.qmp.shutdown_reason,
                run.process.returncode,
            )
            if run.qmp.shutdown_reason == "guest-reset":
                await self._start()
            else:
                self.without_power.set()

    async def _apply_cable(self, qmp: Qmp) -> None:
        await qmp.execute("set_link", name=qemu.NIC_DEVICE, up=self.cable_plugged)

    async def _swap_fault(
        self, qmp: Qmp, disk: DiskPlan, before: str | None, after: str | None
    ) -> None:
        if after is not None:
            await qmp.execute("blockdev-add", **qemu.fault_node(disk.node, after))
        await qmp.execute("blockdev-reopen", options=[qemu.raw_node(disk.node, after)])
        if before is not None:
            await qmp.execute("blockdev-del", **{"node-name": f"{disk.node}-{before}"})
