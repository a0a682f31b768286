"""The rack: all machines in one state file, so the "hardware" survives a killed provisioner."""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from lab.simulated.server import FIRMWARE, OFF, RAMDISK, SECRET, TENANT, SimulatedServer
from provisioner.store.columns import utc_now


class Link(Protocol):
    """A machine's requests to the provisioner while it boots and runs."""

    async def boot_token(self, mac: str, serial: str) -> str | None:
        """Return the token in the boot script; None if the machine must wait or boot its disk."""

    async def identify(
        self, token: str, nonce: str, mac: str, serial: str
    ) -> tuple[str, str, str] | None:
        """Exchange the token: (server id, SSH host key public line, agent token). It may be
        repeated with the same nonce until the machine is ready. None if it is refused."""

    async def ready(self, agent_token: str) -> None: ...

    async def report(self, agent_token: str, server_id: str, context: str) -> None: ...


class SimulatedRack:
    """Simulated servers behind simulated drivers.

    The state file is read if it exists; otherwise the rack begins with `servers`. Work in a server
    takes `pace` seconds.
    """

    def __init__(
        self,
        state: Path,
        link: Link,
        servers: Sequence[SimulatedServer] = (),
        *,
        pace: float = 0,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._state = state
        self.link = link
        self.pace = pace
        self.clock = clock
        if state.exists():
            rows = json.loads(state.read_text())
            self.servers = [SimulatedServer(**row) for row in rows]
        else:
            self.servers = list(servers)
            self.save()

    def save(self) -> None:
        replacement = self._state.with_suffix(".new")
        replacement.write_text(json.dumps([asdict(server) for server in self.servers]))
        replacement.replace(self._state)

    def inventory(self, class_name: str = "sim", site: str = "sim") -> dict[str, Any]:
        """Return the enrolment document for these servers."""
        return {
            "site": site,
            "rack": "r1",
            "classes": [
                {
                    "name": class_name,
                    "title": "Simulated server, 2 x NVMe",
                    "price_per_hour": "1.20",
                    "currency": "EUR",
                    "sanitisation_floor": "clear",
                }
            ],
            "servers": [
                {
                    "name": server.name,
                    "class": class_name,
                    "serial": server.serial,
                    "boot_mac": server.mac,
                    "address": server.address,
                    "switch_port": server.name,
                    "bmc": {
                        "protocol": "ipmi",
                        "address": server.bmc_address,
                        "port": 623,
                        "username": "admin",
                        "password": "secret",
                    },
                    "expect": {
                        "cpus": 8,
                        "memory_mib": 16000,
                        "disks": [{"serial": serial} for serial in server.disks],
                    },
                }
                for server in self.servers
            ],
        }

    def named(self, name: str) -> SimulatedServer:
        return next(server for server in self.servers if server.name == name)

    def at(self, address: str) -> SimulatedServer | None:
        return next((s for s in self.servers if address in (s.address, s.bmc_address)), None)

    async def advance(self, server: SimulatedServer) -> None:
        """Advance a machine that was powered on as far as it gets."""
        if server.running != FIRMWARE:
            return
        deaf = {"no_dhcp", "boots_disk"} & set(server.faults)
        if server.boot_from_network and server.reaches_provisioner and not deaf:
            await self._start_ramdisk(server)
        elif server.installed and ("boots_disk" in server.faults or not server.boot_from_network):
            await self.start_tenant(server)

    async def _start_ramdisk(self, server: SimulatedServer) -> None:
        if not server.boot_token:
            token = await self.link.boot_token(server.mac, server.serial)
            server.boot_token, server.boot_nonce = token or "", secrets.token_hex(16)
            self.save()
        if not server.boot_token:
            return
        identity = await self.link.identify(
            server.boot_token, server.boot_nonce, server.mac, server.serial
        )
        server.boot_token = ""
        if identity is None or server.running != FIRMWARE:
            return
        server.id, server.host_key, server.agent_token = identity
        server.running, server.boot_from_network = RAMDISK, False
        server.count("ramdisk_boots")
        self.save()
        await self.link.ready(server.agent_token)
        await self.report(server)

    async def start_tenant(self, server: SimulatedServer) -> None:
        if "no_tenant_boot" in server.faults:
            server.running = OFF
            self.save()
            return
        server.running = TENANT
        server.host_key = server.installed["ssh_host_public_key"]
        server.agent_token = (server.installed["agent"] or {}).get("token", "")
        found = [content for content in server.disks.values() if SECRET in content]
        server.tenants.append(f"{server.installed['instance_id']} found {found}")
        server.count("tenant_boots")
        self.save()
        await self.report(server)

    async def report(self, server: SimulatedServer) -> None:
        if server.running in (RAMDISK, TENANT) and server.reaches_provisioner:
            await self.link.report(server.agent_token, server.id, server.running)

    def write_secret(self, server: SimulatedServer) -> None:
        """Write a secret, as a tenant does."""
        for serial in server.disks:
            server.disks[serial] += SECRET
        self.save()
