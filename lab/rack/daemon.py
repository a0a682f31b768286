"""The resident process of one rack: owns its switch, BMCs, machines and serial lines.

`ip netns exec NAME python -m lab.rack.daemon PLAN` runs inside the rack's namespace; clients talk
to it over its control socket (JSON lines), BMCs over its chassis socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast, get_args

from lab.rack import bmc, control
from lab.rack.acceleration import acceleration
from lab.rack.bmc import Bmc, BmcFault
from lab.rack.chassis_link import ChassisLink
from lab.rack.child import run
from lab.rack.errors import RackError
from lab.rack.machine import BootDevice, Machine
from lab.rack.plan import RackPlan, ServerPlan
from lab.rack.qemu import DISK_FAULTS
from lab.rack.switch import Switch

log = logging.getLogger(__name__)


class Rackd:
    def __init__(self, plan: RackPlan) -> None:
        self._plan = plan
        self._acceleration = acceleration()
        self._switch = Switch(plan)
        self._machines = {
            server.name: Machine(plan, server, self._acceleration) for server in plan.servers
        }
        self._bmcs = {server.name: Bmc(plan, server) for server in plan.servers}
        self._ports_up = {server.name: True for server in plan.servers}
        self._dhcp_answered = {server.name: True for server in plan.servers}
        self._end = asyncio.Event()
        self._verbs: dict[str, Callable[..., Awaitable[Any]]] = {
            "status": self._status,
            "power": self._power,
            "await_off": self._await_off,
            "boot": self._boot,
            "boot_entry": self._boot_entry,
            "bmc": self._bmc_fault,
            "disk": self._disk_fault,
            "port": self._port,
            "tag": self._tag,
            "dhcp": self._dhcp,
            "stop": self._stop,
        }

    async def run(self) -> None:
        """Bring the rack up, serve until told to stop, take it down."""
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, self._end.set)
        chassis = await ChassisLink(self._machines).listen(self._plan.chassis_socket)
        try:
            await self._start()
            # The control socket comes last: whoever can reach it finds the rack ready.
            server = await control.serve(self._plan.control_socket, self._verbs)
            log.info("rack %s is up", self._plan.name)
            await self._end.wait()
            server.close()
        finally:
            await self._take_down()
            chassis.close()
        log.info("rack %s is down", self._plan.name)

    async def _start(self) -> None:
        await run("ip", "link", "set", "lo", "up")
        await self._switch.start()
        await bmc.prepare_network()
        for server in self._plan.servers:
            machine = self._machines[server.name]
            machine.prepare()
            await machine.hub.listen(server.link_address, self._plan.console_socket(server.name))
        await asyncio.gather(*(each.start() for each in self._bmcs.values()))

    async def _take_down(self) -> None:
        machines, bmcs = self._machines.values(), self._bmcs.values()
        await asyncio.gather(*(each.close() for each in machines), *(b.stop() for b in bmcs))
        await self._switch.stop()

    async def _status(self) -> dict[str, Any]:
        tags = await self._switch.tags()
        return {
            "name": self._plan.name,
            "namespace": self._plan.name,
            "pid": os.getpid(),
            "acceleration": self._acceleration,
            "servers": [
                self._status_of(server, tags[server.name]) for server in self._plan.servers
            ],
        }

    def _status_of(self, server: ServerPlan, tag: int) -> dict[str, Any]:
        machine, its_bmc = self._machines[server.name], self._bmcs[server.name]
        return {
            "name": server.name,
            "power": "off" if machine.pid is None else "on",
            "pid": machine.pid,
            "starts": machine.starts,
            "boot": machine.boot,
            "own_boot_entry": machine.own_boot_entry,
            "address": server.address,
            "mac": server.mac,
            "bmc": {
                "address": server.bmc_address,
                "port": server.bmc_port,
                "pid": its_bmc.pid,
                "fault": its_bmc.fault,
            },
            "port": {
                "up": self._ports_up[server.name],
                "tag": tag,
                "dhcp": self._dhcp_answered[server.name],
            },
            "disks": [
                {
                    "serial": disk.serial,
                    "path": str(disk.path),
                    "fault": machine.disk_faults.get(disk.serial),
                }
                for disk in server.disks
            ],
        }

    async def _power(self, server: str, action: str) -> None:
        machine = self._machine(server)
        actions = {
            "on": machine.power_on,
            "off": machine.power_off,
            "reset": machine.reset,
            "button": machine.press_power_button,
            "kill": machine.power_off,
        }
        log.info("%s: power %s", server, action)
        await actions[_one_of("power action", action, actions)]()

    async def _await_off(self, server: str, timeout: float) -> bool:
        try:
            await asyncio.wait_for(self._machine(server).without_power.wait(), timeout)
        except TimeoutError:
            return False
        return True

    async def _boot(self, server: str, device: str) -> None:
        known = get_args(BootDevice)
        self._machine(server).boot = cast(BootDevice, _one_of("boot device", device, known))

    async def _boot_entry(self, server: str, exists: bool) -> None:
        self._machine(server).own_boot_entry = exists

    async def _bmc_fault(self, server: str, fault: str | None) -> None:
        self._machine(server)
        if fault is not None:
            _one_of("BMC fault", fault, get_args(BmcFault))
        await self._bmcs[server].set_fault(cast(BmcFault | None, fault))

    async def _disk_fault(self, server: str, serial: str, fault: str | None) -> None:
        if fault is not None:
            _one_of("disk fault", fault, DISK_FAULTS)
        await self._machine(server).set_disk_fault(serial, fault)

    async def _port(self, server: str, up: bool) -> None:
        machine = self._machine(server)
        await self._switch.set_port(server, up=up)
        await machine.set_cable(plugged=up)
        self._ports_up[server] = up

    async def _tag(self, server: str, tag: int) -> None:
        self._machine(server)
        await self._switch.set_tag(server, tag)

    async def _dhcp(self, server: str, answered: bool) -> None:
        self._machine(server)
        await self._switch.set_dhcp(server, answered=answered)
        self._dhcp_answered[server] = answered

    async def _stop(self) -> None:
        self._end.set()

    def _machine(self, server: str) -> Machine:
        return self._machines[self._plan.server(server).name]


def _one_of(what: str, value: str, known: Any) -> str:
    if value not in known:
        raise RackError(f"{value!r} is not a {what}; use one of {', '.join(known)}")
    return value


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    plan = RackPlan.load(Path(sys.argv[1]))
    asyncio.run(Rackd(plan).run())


if __name__ == "__main__":
    main()
