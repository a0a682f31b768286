"""One server's BMC: an `ipmi_sim` process on the server's BMC address, and its faults.

RMCP+, users, SOL and in-band access are the program's own and real; power and boot device come back
to the rack process through `chassis.py`.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Literal

from lab.rack.bmc_records import emulator_commands
from lab.rack.child import end, run, spawn
from lab.rack.errors import RackError
from lab.rack.plan import BMC_PASSWORD, BMC_USER, RackPlan, ServerPlan
from lab.rack.qemu import BMC_LINK_PORT
from lab.rack.serial_hub import SOL_PORT

BmcFault = Literal["drop", "hang", "refuse"]

NOWHERE = "nowhere"
"""A network device that swallows everything sent to it."""

_CHASSIS = Path(__file__).with_name("chassis.py")
_START_SECONDS = 20
_SAVE_SECONDS = 1.2
"""ipmi_sim saves changed users once a second, and on no signal."""
# Get Channel Authentication Capabilities without a session (IPMI 2.0, 22.13): every BMC answers.
_HELLO = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")


async def prepare_network() -> None:
    """Create the device in which a dropped BMC's packets disappear."""
    await run("ip", "tuntap", "add", "dev", NOWHERE, "mode", "tun")
    await run("ip", "link", "set", NOWHERE, "up")


class Bmc:
    def __init__(self, rack: RackPlan, server: ServerPlan) -> None:
        self.fault: BmcFault | None = None
        self._server = server
        self._rack = rack
        self._folder = rack.run / f"{server.name}.bmc"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and alive else None

    async def start(self) -> None:
        self._folder.mkdir()
        (self._folder / "emulator").write_text(emulator_commands(self._server))
        await run("ip", "address", "add", self._address, "dev", "lo")
        await self._start("state", BMC_PASSWORD)

    async def stop(self) -> None:
        if self._process is not None:
            await end(self._process)

    async def set_fault(self, fault: BmcFault | None) -> None:
        """Drop the BMC's packets, hang it, have it refuse logins, or clear the fault (None)."""
        if fault == self.fault:
            return
        await self._heal()
        if fault == "drop":
            await run("ip", "address", "del", self._address, "dev", "lo")
            await run("ip", "route", "add", self._address, "dev", NOWHERE)
        elif fault == "hang":
            self._signal(signal.SIGSTOP)
        elif fault == "refuse":
            await asyncio.sleep(_SAVE_SECONDS)
            await self.stop()
            shutil.rmtree(self._folder / "refusing", ignore_errors=True)
            await self._start("refusing", "nobody-knows")
        self.fault = fault

    async def _heal(self) -> None:
        if self.fault == "drop":
            await run("ip", "route", "del", self._address, "dev", NOWHERE)
            await run("ip", "address", "add", self._address, "dev", "lo")
        elif self.fault == "hang":
            self._signal(signal.SIGCONT)
        elif self.fault == "refuse":
            await self.stop()
            await self._start("state", BMC_PASSWORD)
        self.fault = None

    @property
    def _address(self) -> str:
        return f"{self._server.bmc_address}/32"

    def _signal(self, sig: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(sig)

    async def _start(self, state: str, password: str) -> None:
        """Run with the users kept in `state` until it answers; a fresh one has `password`."""
        (self._folder / state).mkdir(exist_ok=True)
        configuration = self._folder / "lan.conf"
        configuration.write_text(self._configuration(password))
        emulator = self._folder / "emulator"
        self._process = await spawn(
            ["ipmi_sim", "-n", "-c", configuration, "-f", emulator, "-s", self._folder / state],
            self._rack.run / f"{self._server.name}.bmc.log",
        )
        async with asyncio.timeout(_START_SECONDS):
            while not await self._answers():
                if self._process.returncode is not None:
                    raise RackError(
                        f"the BMC of {self._server.name} exited on start; see "
                        f"{self._rack.run / self._server.name}.bmc.log"
                    )

    async def _answers(self) -> bool:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (self._server.bmc_address, self._server.bmc_port))
            try:
                await loop.sock_sendall(sock, _HELLO)
                return bool(await asyncio.wait_for(loop.sock_recv(sock, 64), 0.1))
            except (TimeoutError, ConnectionRefusedError):
                await asyncio.sleep(0.02)
                return False

    def _configuration(self, password: str) -> str:
        server = self._server
        # -I -S: without site packages this interpreter answers in about 10 ms. A slow answer makes
        # clients send their command again, and a reset would then happen twice.
        chassis = f"{sys.executable} -I -S {_CHASSIS} {self._rack.chassis_socket} {server.name}"
        return f"""name "{server.name}"
set_working_mc 0x20
  startlan 1
    addr {server.bmc_address} {server.bmc_port}
    priv_limit admin
    allowed_auths_callback none md5
    allowed_auths_user none md5
    allowed_auths_operator md5
    allowed_auths_admin md5
    guid a123456789abcdefa123456789{server.number:06x}
  endlan
  chassis_control "{chassis}"
  serial 15 {server.link_address} {BMC_LINK_PORT} codec VM ipmb 0x20
  sol "tcp:{server.link_address}:{SOL_PORT}" 115200 history=16000
  user 1 true "" "" user 10 none
  user 2 true "{BMC_USER}" "{password}" admin 10 md5
"""
