"""Ports of an Open vSwitch bridge on this machine, through its own tools and run directory."""

import asyncio
import os
import zlib
from ipaddress import IPv4Address
from pathlib import Path

from provisioner.drivers.network.base import Switch, SwitchUnreachable

_LIMIT_S = 10.0
_DROP = "drop"


class OpenVSwitch(Switch):
    def __init__(
        self, run_dir: Path, bridge: str, *, provisioner_port: str, provisioner: IPv4Address
    ) -> None:
        """`run_dir` is where ovs-vswitchd keeps its sockets (OVS_RUNDIR).

        The provisioner has its address on `provisioner_port` of the bridge.
        """
        self._run_dir = run_dir
        self._bridge = bridge
        self._provisioner_port = provisioner_port
        self._provisioner = provisioner

    async def set_port(self, port: str, *, is_open: bool) -> None:
        # ovs-ofctl(8), mod-port: a port that is down neither sends nor receives.
        verb = "up" if is_open else "down"
        if not is_open:
            await self._control(port, "mod-port", port, verb)
        await self._control(port, "del-flows", f"cookie={_cookie(port)}/-1")
        if is_open:
            await self._control(port, "mod-port", port, verb)
        await self._forget_flows(port)

    async def allow_boot(self, port: str, mac: str) -> None:
        to, of, cookie = self._provisioner_port, self._provisioner, f"cookie={_cookie(port)}"
        sent = {
            f"priority=401,in_port={port},arp,arp_tpa={of}": f"output:{to}",
            f"priority=401,in_port={port},ip,nw_dst={of}": f"output:{to}",
            # DHCP before the server has an address, and the router solicitation that iPXE waits
            # for.
            f"priority=401,in_port={port},udp,nw_dst=255.255.255.255,tp_dst=67": f"output:{to}",
            f"priority=401,in_port={port},icmp6": f"output:{to}",
            f"priority=400,in_port={port}": _DROP,
        }
        # By port, as the switch floods addresses that it has not learned.
        received = {
            f"priority=401,in_port={to},dl_dst={mac}": f"output:{port}",
            f"priority=399,dl_dst={mac}": _DROP,
        }
        for match, action in (sent | received).items():
            await self._control(port, "add-flow", f"{cookie},{match},actions={action}")
        await self._control(port, "mod-port", port, "up")
        await self._forget_flows(port)

    async def port_is_open(self, port: str) -> bool:
        database = f"--db=unix:{self._run_dir / 'db.sock'}"
        state = await self._run(
            port, "ovs-vsctl", database, "--timeout=5", "get", "interface", port, "admin_state"
        )
        return state.strip() == "up"

    async def _control(self, port: str, verb: str, *words: str) -> None:
        await self._run(port, "ovs-ofctl", verb, self._bridge, *words)

    async def _forget_flows(self, port: str) -> None:
        """Purge cached flows, which would go on passing frames for another half second."""
        for control in self._run_dir.glob("*vswitchd*.ctl"):
            await self._run(port, "ovs-appctl", f"--target={control}", "revalidator/purge")

    async def _run(self, port: str, *command: str) -> str:
        environment = {**os.environ, "OVS_RUNDIR": str(self._run_dir)}
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError as error:
            raise SwitchUnreachable(port, f"{command[0]} is not installed") from error
        try:
            out, err = await asyncio.wait_for(process.communicate(), _LIMIT_S)
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise SwitchUnreachable(port, f"{command[0]} had no answer") from error
        if process.returncode != 0:
            raise SwitchUnreachable(port, err.decode(errors="replace").strip())
        return out.decode()


def _cookie(port: str) -> str:
    """Return the cookie that marks our flows for a port; those of the operator are left alone."""
    return f"{0x1EA5E << 32 | zlib.crc32(port.encode()):#x}"
