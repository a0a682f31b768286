"""A rack of simulated servers: the drivers' interfaces in process, for thousands of servers or
crashes. Its state is one JSON file, so the "hardware" survives a killed provisioner.

Whatever is shown on it is shown once more on the virtual rack.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from provisioner.domain.failures import FailureKind
from provisioner.drivers.bmc import (
    BmcLoginRefused,
    BmcTarget,
    BmcUnreachable,
    BmcUser,
    BootDevice,
    LogEntry,
    Power,
    PowerAction,
    Sensor,
)
from provisioner.drivers.network import SwitchUnreachable
from provisioner.drivers.plays import (
    OnEvent,
    PlayEvent,
    PlayEventKind,
    PlayFailed,
    PlayUnreachable,
)
from provisioner.drivers.ssh import (
    CommandResult,
    HostKeyMismatch,
    SshLoginRefused,
    SshState,
    SshTarget,
    SshUnreachable,
)
from provisioner.lifecycle.job import Drivers

OFF, FIRMWARE, RAMDISK, TENANT = "off", "firmware", "ramdisk", "tenant"

SECRET = "the tenant's secret"


class Link(Protocol):
    """What a machine asks of the provisioner while it boots and runs."""

    async def boot_token(self, mac: str, serial: str) -> str | None:
        """The token in the boot script, or None when it is told to wait or to boot its disk."""

    async def identify(self, token: str, mac: str, serial: str) -> tuple[str, str, str]:
        """Exchange the token: (server id, SSH host key public line, agent token)."""

    async def ready(self, agent_token: str) -> None: ...

    async def report(self, agent_token: str, server_id: str, context: str) -> None: ...


@dataclass
class SimulatedServer:
    """One machine: what its power, its memory and its disks hold."""

    name: str
    serial: str
    mac: str
    address: str
    bmc_address: str
    disks: dict[str, str]
    """Content by serial: empty is all zeroes."""
    cpus: int = 8
    memory_mib: int = 16384
    gpus: int = 0
    purges: bool = True
    """Its disks can be purged, not only cleared."""
    id: str = ""
    """As the provisioner names it."""
    running: str = OFF
    boot_from_network: bool = False
    host_key: str = ""
    agent_token: str = ""
    installed: dict[str, Any] = field(default_factory=dict)
    """What personalisation wrote to the system disk."""
    kexec_loaded: bool = False
    port_open: bool = True
    bmc_users: list[str] = field(default_factory=lambda: ["admin", "ironlease"])
    faults: list[str] = field(default_factory=list)
    """no_bmc, bad_password, no_dhcp, boots_disk, stubborn_disk, corrupt_image, no_tenant_boot,
    no_switch, stubborn_bmc_user."""
    counts: dict[str, int] = field(default_factory=dict)
    tenants: list[str] = field(default_factory=list)
    """What each tenant system that started found on its disks: instance ids and secrets."""

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


class SimulatedRack:
    """Simulated servers behind simulated drivers.

    The state file is read when there is one; otherwise the rack begins with `servers`. Work in a
    server takes `pace` seconds.
    """

    def __init__(
        self,
        state: Path,
        link: Link,
        servers: Sequence[SimulatedServer] = (),
        *,
        pace: float = 0,
    ) -> None:
        self._state = state
        self.link = link
        self.pace = pace
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

    def drivers(self) -> Drivers:
        return Drivers(
            bmc=SimulatedBmc(self),
            plays=SimulatedPlays(self),
            ssh=SimulatedSsh(self),
            netboot=SimulatedNetboot(self),
            switch=SimulatedSwitch(self),
        )

    def inventory(self, class_name: str = "sim", site: str = "sim") -> dict[str, Any]:
        """The enrolment document for these servers."""
        return {
            "site": site,
            "rack": "r1",
            "classes": [
                {
                    "name": class_name,
                    "title": "Simulated server, 2 x NVMe",
                    "price_per_hour": "1.20",
                    "currency": "EUR",
                    "erase_floor": "clear",
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

    def at(self, address: str) -> SimulatedServer | None:
        return next((s for s in self.servers if address in (s.address, s.bmc_address)), None)

    async def advance(self, server: SimulatedServer) -> None:
        """Let a machine that was powered on get as far as it comes."""
        if server.running != FIRMWARE:
            return
        deaf = {"no_dhcp", "boots_disk"} & set(server.faults)
        if server.boot_from_network and server.port_open and not deaf:
            token = await self.link.boot_token(server.mac, server.serial)
            if token is not None:
                server.id, server.host_key, server.agent_token = await self.link.identify(
                    token, server.mac, server.serial
                )
                server.running, server.boot_from_network = RAMDISK, False
                server.count("ramdisk_boots")
                self.save()
                await self.link.ready(server.agent_token)
                await self.report(server)
        elif server.installed and ("boots_disk" in server.faults or not server.boot_from_network):
            await self.start_tenant(server)

    async def start_tenant(self, server: SimulatedServer) -> None:
        if "no_tenant_boot" in server.faults:
            server.running = OFF
            self.save()
            return
        server.running = TENANT
        server.host_key = server.installed["ssh_host_public_key"]
        server.agent_token = server.installed["agent"]["token"]
        found = [content for content in server.disks.values() if SECRET in content]
        server.tenants.append(f"{server.installed['instance_id']} found {found}")
        server.count("tenant_boots")
        self.save()
        await self.report(server)

    async def report(self, server: SimulatedServer) -> None:
        if server.running in (RAMDISK, TENANT) and server.port_open:
            await self.link.report(server.agent_token, server.id, server.running)

    def write_secret(self, server: SimulatedServer) -> None:
        """What a tenant does."""
        for serial in server.disks:
            server.disks[serial] += SECRET
        self.save()


def numbered_servers(count: int) -> list[SimulatedServer]:
    """Servers `sim-01` … with two disks each, which hold old data."""
    return [_numbered(number) for number in range(1, count + 1)]


def servers_of(documents: Sequence[Mapping[str, Any]]) -> list[SimulatedServer]:
    """A simulated server for every server of enrolment documents, just as they expect it."""
    return [
        SimulatedServer(
            name=entry["name"],
            serial=entry["serial"],
            mac=entry["boot_mac"],
            address=entry["address"],
            bmc_address=entry["bmc"]["address"],
            disks={disk["serial"]: "old data" for disk in entry["expect"]["disks"]},
            cpus=entry["expect"]["cpus"],
            memory_mib=entry["expect"]["memory_mib"],
            gpus=entry["expect"].get("gpus", 0),
        )
        for document in documents
        for entry in document["servers"]
    ]


def _numbered(number: int) -> SimulatedServer:
    high, low = divmod(number, 250)
    return SimulatedServer(
        name=f"sim-{number:02}",
        serial=f"SIM{number:05}",
        mac=f"52:54:00:78:{high:02x}:{low:02x}",
        address=f"10.79.{high}.{low + 1}",
        bmc_address=f"10.80.{high}.{low + 1}",
        disks={f"SIM{number:05}-A": "old data", f"SIM{number:05}-B": "old data"},
    )


class SimulatedBmc:
    def __init__(self, rack: SimulatedRack) -> None:
        self._rack = rack

    def _server(self, target: BmcTarget) -> SimulatedServer:
        server = self._rack.at(target.address)
        if server is None or "no_bmc" in server.faults:
            raise BmcUnreachable(target, "no answer")
        if "bad_password" in server.faults:
            raise BmcLoginRefused(target, "wrong password")
        return server

    async def power(self, target: BmcTarget) -> Power:
        server = self._server(target)
        await self._rack.advance(server)
        return Power.OFF if server.running == OFF else Power.ON

    async def set_power(self, target: BmcTarget, action: PowerAction) -> None:
        server = self._server(target)
        if action is PowerAction.OFF:
            server.running = OFF
        elif action is not PowerAction.ON or server.running == OFF:
            server.running = FIRMWARE
            server.count("power_ons")
        server.kexec_loaded = False
        self._rack.save()

    async def set_boot_device(
        self, target: BmcTarget, device: BootDevice, *, once: bool = True
    ) -> None:
        server = self._server(target)
        server.boot_from_network = device is BootDevice.NETWORK
        self._rack.save()

    async def sensors(self, target: BmcTarget) -> Sequence[Sensor]:
        self._server(target)
        return [Sensor("Inlet temperature", "temperature", 24.0, "°C", "ok")]

    async def inventory(self, target: BmcTarget) -> dict[str, dict[str, str]]:
        server = self._server(target)
        return {"System": {"Serial Number": server.serial}}

    async def event_log(self, target: BmcTarget) -> Sequence[LogEntry]:
        self._server(target)
        return []

    async def users(self, target: BmcTarget) -> Sequence[BmcUser]:
        names = self._server(target).bmc_users
        return [BmcUser(id, name, "administrator") for id, name in enumerate(names, 1) if name]

    async def disable_user(self, target: BmcTarget, user_id: int) -> None:
        server = self._server(target)
        if "stubborn_bmc_user" not in server.faults:
            server.bmc_users[user_id - 1] = ""
        self._rack.save()

    async def close(self) -> None:
        """Nothing is kept open."""


class SimulatedSsh:
    def __init__(self, rack: SimulatedRack) -> None:
        self._rack = rack

    async def probe(self, target: SshTarget, *, timeout_s: float = 5.0) -> SshState:
        server = self._rack.at(target.address)
        if server is None:
            return SshState.UNREACHABLE
        await self._rack.advance(server)
        if server.running not in (RAMDISK, TENANT) or not server.port_open:
            return SshState.UNREACHABLE
        if server.host_key != target.host_key:
            raise HostKeyMismatch(target, server.host_key)
        return SshState.ANSWERS

    async def accepts_key(
        self, target: SshTarget, public_key: str, *, timeout_s: float = 10.0
    ) -> bool:
        if await self.probe(target) is not SshState.ANSWERS:
            raise SshUnreachable(target, "no answer")
        server = self._rack.at(target.address)
        return server is not None and public_key in server.installed.get("authorized_keys", ())

    async def run(
        self, target: SshTarget, command: str, *, timeout_s: float = 30.0
    ) -> CommandResult:
        if await self.probe(target) is not SshState.ANSWERS:
            raise SshUnreachable(target, "no answer")
        server = self._rack.at(target.address)
        if server is None or server.running != RAMDISK:
            raise SshLoginRefused(target)
        if "kexec -e" in command:
            if not server.kexec_loaded:
                return CommandResult(255, "", "nothing has been loaded")
            server.kexec_loaded = False
            await self._rack.start_tenant(server)
        return CommandResult(0, "", "")


class SimulatedPlays:
    def __init__(self, rack: SimulatedRack) -> None:
        self._rack = rack

    async def run(
        self,
        playbook: str,
        target: SshTarget,
        variables: Mapping[str, Any],
        on_event: OnEvent,
        *,
        timeout_s: float,
    ) -> dict[str, Any]:
        server = self._rack.at(target.address)
        if server is None or server.running != RAMDISK or server.host_key != target.host_key:
            raise PlayUnreachable(
                f"{target.address} does not answer", next_action="look at its console"
            )
        on_event(
            PlayEvent(datetime.now(UTC), PlayEventKind.TASK, playbook, f"simulated {playbook}")
        )
        server.count(playbook)
        await asyncio.sleep(self._rack.pace)
        answer: dict[str, Any] = getattr(self, f"_{playbook}")(server, variables)
        self._rack.save()
        return answer

    def _inspect(self, server: SimulatedServer, variables: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "facts": {
                "serial": server.serial,
                "cpus": server.cpus,
                "memory_mib": server.memory_mib,
                "gpus": [{"index": index} for index in range(server.gpus)],
                "disks": [
                    {
                        "serial": serial,
                        "model": "Simulated NVMe",
                        "firmware": "1.0",
                        "transport": "nvme",
                        "size_bytes": 1 << 40,
                        "capabilities": {"sanitize_crypto": server.purges, "discard": True},
                    }
                    for serial in server.disks
                    if f"missing:{serial}" not in server.faults
                ],
            }
        }

    def _wipe(self, server: SimulatedServer, variables: Mapping[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        erasures = []
        for order in variables["disks"]:
            stubborn = "stubborn_disk" in server.faults
            if not stubborn:
                server.disks[order["serial"]] = ""
            erasures.append(
                {
                    "serial": order["serial"],
                    "method": order["methods"][0],
                    "verified": not stubborn,
                    "started_at": now,
                    "finished_at": now,
                    "attempts": [{"method": order["methods"][0], "outcome": "done"}],
                }
            )
        server.installed = {}
        return {"erasures": erasures}

    def _validate(self, server: SimulatedServer, variables: Mapping[str, Any]) -> dict[str, Any]:
        return {"validation": {"summary": "simulated hardware is as inspected"}}

    def _image(self, server: SimulatedServer, variables: Mapping[str, Any]) -> dict[str, Any]:
        if "corrupt_image" in server.faults:
            raise PlayFailed(
                "image chunk 3 is corrupt",
                next_action="import the image again",
                kind=FailureKind.CONFIGURATION,
            )
        server.disks[variables["disk_serial"]] = f"image {variables['image_digest']}"
        return {"imaging": {"bytes_written": 1 << 30, "seconds": 1.0}}

    def _personalise(self, server: SimulatedServer, variables: Mapping[str, Any]) -> dict[str, Any]:
        server.installed = {
            key: variables[key]
            for key in ("instance_id", "authorized_keys", "ssh_host_public_key", "agent")
        }
        server.kexec_loaded = True
        return {"kexec_loaded": True}


class SimulatedNetboot:
    def __init__(self, rack: SimulatedRack) -> None:
        self._rack = rack
        self.hosts: list[tuple[str, str, str]] = []

    async def set_hosts(self, hosts: list[tuple[str, str, str]]) -> None:
        self.hosts = hosts

    def dhcp_seen(self, mac: str) -> datetime | None:
        return None


class SimulatedSwitch:
    """Every server's port has the server's name."""

    def __init__(self, rack: SimulatedRack) -> None:
        self._rack = rack

    def _server(self, port: str) -> SimulatedServer:
        server = next((s for s in self._rack.servers if s.name == port), None)
        if server is None or "no_switch" in server.faults:
            raise SwitchUnreachable(port, "no answer")
        return server

    async def set_port(self, port: str, *, is_open: bool) -> None:
        self._server(port).port_open = is_open
        self._rack.save()

    async def port_is_open(self, port: str) -> bool:
        return self._server(port).port_open
