"""The rack's switch: Open vSwitch with its userspace datapath, inside the rack's namespace.

Each server has an access port named after it; the provisioner has the internal port `prov`. A port
can be shut, moved to another network (tag) and robbed of DHCP.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from lab.rack.child import end, run, spawn
from lab.rack.errors import RackError
from lab.rack.plan import (
    BMC_NETWORK,
    PROVISIONER_ADDRESS,
    PROVISIONER_PREFIX6,
    PROVISIONING_TAG,
    RackPlan,
)

BRIDGE = "sw0"
PROVISIONER_PORT = "prov"
_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_START_SECONDS = 20


class Switch:
    def __init__(self, rack: RackPlan) -> None:
        self._rack = rack
        self._folder = rack.ovs_folder
        self._environment = {
            f"OVS_{kind}DIR": str(self._folder) for kind in ("RUN", "LOG", "DB", "SYSCONF")
        }
        self._daemons: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        self._folder.mkdir()
        database = self._folder / "conf.db"
        socket = self._folder / "db.sock"
        await self._run("ovsdb-tool", "create", database, _SCHEMA)
        await self._start_daemon(
            socket, "ovsdb-server", database, f"--remote=punix:{socket}", "--no-chdir"
        )
        await self._vsctl("--no-wait", "init")
        await self._start_daemon(
            self._folder / "vswitchd.ctl",
            *("ovs-vswitchd", f"unix:{socket}", "--no-chdir"),
            f"--unixctl={self._folder / 'vswitchd.ctl'}",
        )
        await run("ip", "link", "set", "lo", "up")
        for server in self._rack.servers:
            await run("ip", "tuntap", "add", "dev", server.name, "mode", "tap")
            await run("ip", "link", "set", server.name, "up")
        tag = f"tag={PROVISIONING_TAG}"
        words = ["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev"]
        words += ["--", "add-port", BRIDGE, PROVISIONER_PORT, tag]
        words += ["--", "set", "interface", PROVISIONER_PORT, "type=internal"]
        for server in self._rack.servers:
            words += ["--", "add-port", BRIDGE, server.name, tag]
        await self._vsctl(*words)
        await self._bring_up_provisioner_port()
        # BMC addresses are local to the namespace, which would answer for them on every port.
        await self._ofctl("add-flow", BRIDGE, f"priority=300,ip,nw_dst={BMC_NETWORK},actions=drop")

    async def set_port(self, port: str, *, up: bool) -> None:
        """Open or shut a server's port; nothing passes a shut one either way."""
        await self._ofctl("mod-port", BRIDGE, port, "up" if up else "down")

    async def set_tag(self, port: str, tag: int) -> None:
        """Move a port to another network (VLAN 1 to 4094)."""
        if not 1 <= tag <= 4094:
            raise RackError(f"{tag} is no VLAN; it is 1 to 4094")
        await self._vsctl("set", "port", port, f"tag={tag}")

    async def tag(self, port: str) -> int:
        """The network (VLAN) a port is in, as the switch says."""
        return int(await self._vsctl("get", "port", port, "tag"))

    async def set_dhcp(self, port: str, *, answered: bool) -> None:
        """Let a server's DHCP requests through, or lose them."""
        requests = f"in_port={port},udp,tp_dst=67"
        if answered:
            await self._ofctl("--strict", "del-flows", BRIDGE, f"priority=200,{requests}")
        else:
            await self._ofctl("add-flow", BRIDGE, f"priority=200,{requests},actions=drop")

    async def stop(self) -> None:
        while self._daemons:
            await end(self._daemons.pop(), signal.SIGTERM)

    async def _bring_up_provisioner_port(self) -> None:
        port = PROVISIONER_PORT
        await run("ip", "address", "add", f"{PROVISIONER_ADDRESS}/24", "dev", port)
        await run("ip", "address", "add", PROVISIONER_PREFIX6, "dev", port, "nodad")
        await run("ip", "link", "set", port, "up")
        # The userspace switch passes frames as they are: checksums must be complete.
        await run("ethtool", "--offload", port, "tx", "off")

    async def _start_daemon(self, socket: Path, name: str, *words: str | Path) -> None:
        command = [name, *words, "-vconsole:off", f"--log-file={self._folder / name}.log"]
        daemon = await spawn(command, self._folder / f"{name}.out", environment=self._environment)
        self._daemons.append(daemon)
        async with asyncio.timeout(_START_SECONDS):
            while not await _listens(socket):
                if daemon.returncode is not None:
                    raise RackError(f"{name} ended at its start; see {self._folder / name}.log")
                await asyncio.sleep(0.02)

    async def _vsctl(self, *words: str | Path) -> str:
        return await self._run(
            "ovs-vsctl", f"--db=unix:{self._folder / 'db.sock'}", "--timeout=20", *words
        )

    async def _ofctl(self, *words: str) -> str:
        return await self._run("ovs-ofctl", *words)

    async def _run(self, *command: str | Path) -> str:
        return await run(*command, environment=self._environment)


async def _listens(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    writer.close()
    return True
