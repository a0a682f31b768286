"""The rack's side of `chassis.py`: power and boot device, as a BMC requests them.

The words are those of ipmi_sim's chassis_control: `get power boot` is answered with `power:1` and
`boot:default`; `set` takes pairs of power, reset, shutdown, boot and a value.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.rack.errors import RackError
from lab.rack.machine import Machine

log = logging.getLogger(__name__)


class ChassisLink:
    def __init__(self, machines: Mapping[str, Machine]) -> None:
        self._machines = machines

    async def listen(self, path: Path) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        try:
            answer = await self._answer(line.split()) + "ok\n"
        except RackError as error:
            answer = f"{error}\n"
        if "get" not in line:
            log.info("BMC: %s: %s", line.strip(), answer.splitlines()[-1])
        writer.write(answer.encode())
        await writer.drain()
        writer.close()

    async def _answer(self, words: Sequence[str]) -> str:
        match words:
            case [server, "get", *names] if server in self._machines:
                machine = self._machines[server]
                return "".join(f"{name}:{self._get(machine, name)}\n" for name in names)
            case [server, "set", *pairs] if server in self._machines:
                for name, value in zip(pairs[::2], pairs[1::2], strict=True):
                    await self._set(self._machines[server], name, value)
                return ""
        raise RackError(f"not a chassis command: {' '.join(words)}")

    def _get(self, machine: Machine, name: str) -> str:
        match name:
            case "power":
                return "0" if machine.pid is None else "1"
            case "boot":
                return machine.boot
        raise RackError(f"{name!r} is not a readable chassis parameter")

    async def _set(self, machine: Machine, name: str, value: str) -> None:
        match name, value:
            case "power", "1":
                await machine.power_on()
            case "power", "0":
                await machine.power_off()
            case "reset", _:
                await machine.reset()
            case "shutdown", _:
                await machine.press_power_button()
            case "boot", "pxe":
                machine.boot = "pxe"
            case "boot", _:
                # IPMI's other devices arrive too; this server has only disks and a network.
                machine.boot = "default"
            case _:
                raise RackError(f"{name} {value} is not a chassis setting")
