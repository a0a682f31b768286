"""The rack's switch: Open vSwitch with its userspace datapath, in a namespace of its own.

Each server has an access port named after it; the provisioner has `prov`, whose other end is in the
rack's namespace. A port can be shut, moved to another network (tag) or cut off from DHCP.
"""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

from lab.rack.child import end, run, spawn
from lab.rack.errors import RackError
from lab.rack.namespaces import fabric, inside
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
_SETTINGS_4 = Path("/proc/sys/net/ipv4/conf")
_DISABLE_IPV6 = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
_START_SECONDS = 20


class Switch:
    def __init__(self, rack: RackPlan) -> None:
        self._rack = rack
        self._folder = rack.ovs_folder
        self._fabric = fabric(rack.name)
        self._control = self._folder / "vswitchd.ctl"
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
        control = self._control
        await self._start_daemon(
            control, "ovs-vswitchd", f"unix:{socket}", f"--unixctl={control}", "--no-chdir"
        )
        await self._make_ports()
        tag = f"tag={PROVISIONING_TAG}"
        words = ["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev"]
        words += ["--", "add-port", BRIDGE, PROVISIONER_PORT, tag]
        for server in self._rack.servers:
            words += ["--", "add-port", BRIDGE, server.name, tag]
        await self._vsctl(*words)
        # No server may use the provisioner, in whose namespace the BMCs are, as a router to one.
        await self._ofctl("add-flow", BRIDGE, f"priority=300,ip,nw_dst={BMC_NETWORK},actions=drop")

    async def set_port(self, port: str, *, up: bool) -> None:
        """Open or shut a server's port; nothing passes a shut one in either direction."""
        await self._ofctl("mod-port", BRIDGE, port, "up" if up else "down")
        await self._forget_flows()

    async def set_tag(self, port: str, tag: int) -> None:
        """Move a port to another network (VLAN 1 to 4094)."""
        if not 1 <= tag <= 4094:
            raise RackError(f"{tag} is not a VLAN; use 1 to 4094")
        await self._vsctl("set", "port", port, f"tag={tag}")
        await self._forget_flows()

    async def tags(self) -> dict[str, int]:
        """Return the network (VLAN) of each port, as the switch reports it."""
        ports = await self._vsctl("--format=json", "--columns=name,tag", "list", "port")
        return {name: tag for name, tag in json.loads(ports)["data"] if isinstance(tag, int)}

    async def set_dhcp(self, port: str, *, answered: bool) -> None:
        """Let a server's DHCP requests through, or drop them."""
        # Ahead of everything that a provisioner lets through.
        requests = f"priority=500,in_port={port},udp,tp_dst=67"
        if answered:
            await self._ofctl("--strict", "del-flows", BRIDGE, requests)
        else:
            await self._ofctl("add-flow", BRIDGE, f"{requests},actions=drop")
        await self._forget_flows()

    async def stop(self) -> None:
        while self._daemons:
            await end(self._daemons.pop(), signal.SIGTERM)

    async def _make_ports(self) -> None:
        """Create the servers' taps, and a cable from the switch to the provisioner's namespace."""
        port, fabric = PROVISIONER_PORT, self._fabric
        inside(fabric, lambda: _DISABLE_IPV6.write_text("1"))
        for server in self._rack.servers:
            await run("ip", "-n", fabric, "tuntap", "add", "dev", server.name, "mode", "tap")
            await run("ip", "-n", fabric, "link", "set", server.name, "up")
        peer = ["peer", "name", port, "netns", fabric]
        await run("ip", "link", "add", port, "type", "veth", *peer)
        await run("ip", "-n", fabric, "link", "set", port, "up")
        # Answer ARP for its own addresses alone, not for the BMCs', which are in its namespace too.
        (_SETTINGS_4 / port / "arp_ignore").write_text("1")
        await run("ip", "address", "add", f"{PROVISIONER_ADDRESS}/24", "dev", port)
        await run("ip", "address", "add", PROVISIONER_PREFIX6, "dev", port, "nodad")
        await run("ip", "link", "set", port, "up")
        # The userspace switch passes frames unchanged: checksums must be complete.
        await run("ethtool", "--offload", port, "tx", "off")

    async def _start_daemon(self, socket: Path, name: str, *words: str | Path) -> None:
        log = f"--log-file={self._folder / name}.log"
        enter = ("ip", "netns", "exec", self._fabric)
        command = [*enter, name, *words, "-vconsole:off", log]
        daemon = await spawn(command, self._folder / f"{name}.out", environment=self._environment)
        self._daemons.append(daemon)
        async with asyncio.timeout(_START_SECONDS):
            while not await _listens(socket):
                if daemon.returncode is not None:
                    raise RackError(f"{name} exited on start; see {self._folder / name}.log")
                await asyncio.sleep(0.02)

    async def _forget_flows(self) -> None:
        """Apply a change at once: cached flows would pass frames for another half second."""
        await self._run("ovs-appctl", f"--target={self._control}", "revalidator/purge")

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
