"""The plan of a rack: every name, address, serial number, file and size in it.

These are pure values, written once by `up` as plan.json and read by the rack process and every
client. Racks of different names never collide: addresses live in the rack's own network namespace.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lab.rack.errors import RackError

DiskBus = Literal["nvme", "ahci", "virtio", "scsi"]
Nic = Literal["virtio", "e1000"]
Firmware = Literal["bios", "uefi"]

RUN_ROOT = Path("/run/ironlease-lab")
DATA_ROOT = Path("/var/tmp/ironlease-lab")
DEFAULT_NAME = "ilrack"

PROVISIONER_ADDRESS = "10.77.0.1"
PROVISIONER_PREFIX6 = "fd77::1/64"
PROVISIONING_TAG = 100
BMC_PORT = 623
BMC_NETWORK = "10.78.0.0/16"
BMC_USER = "admin"
BMC_PASSWORD = "secret"
SERVER_CLASS = "lab-2nvme"
MAX_SERVERS = 200

_SIZE = re.compile(r"^(\d+)([KMGT]?)$")
_NAME = re.compile(r"^[a-z][a-z0-9-]{0,31}$")


@dataclass(frozen=True)
class MachineOptions:
    """How the hardware of one server differs from its neighbours'."""

    disk_bus: DiskBus = "nvme"
    nic: Nic = "virtio"
    firmware: Firmware = "bios"
    in_band_bmc: bool = True
    """A KCS interface to the server's own BMC, as a tenant has it on real hardware."""


@dataclass(frozen=True)
class DiskPlan:
    """One disk; `node` is its name inside QEMU, `path` the sparse file that backs it."""

    serial: str
    node: str
    path: Path
    size: int


@dataclass(frozen=True)
class ServerPlan:
    """One server; `name` is also the name of its port on the rack's switch."""

    number: int
    name: str
    serial: str
    mac: str
    address: str
    bmc_address: str
    bmc_port: int
    link_address: str
    """Loopback address for the links between BMC, serial hub and machine of this server."""
    disks: tuple[DiskPlan, ...]
    options: MachineOptions = field(default_factory=MachineOptions)


@dataclass(frozen=True)
class RackPlan:
    """A whole rack; `name` is also the name of its network namespace."""

    name: str
    memory_mib: int
    servers: tuple[ServerPlan, ...]

    @property
    def run(self) -> Path:
        return run_folder(self.name)

    @property
    def data(self) -> Path:
        return data_folder(self.name)

    @property
    def control_socket(self) -> Path:
        return self.run / "control.sock"

    @property
    def chassis_socket(self) -> Path:
        return self.run / "chassis.sock"

    @property
    def ovs_folder(self) -> Path:
        return self.run / "ovs"

    def console_log(self, server: str) -> Path:
        return self.run / f"{server}.console.log"

    def console_socket(self, server: str) -> Path:
        return self.run / f"{server}.console.sock"

    def server(self, name: str) -> ServerPlan:
        """Return the server of this name.

        Raises RackError if there is none.
        """
        for server in self.servers:
            if server.name == name:
                return server
        known = ", ".join(server.name for server in self.servers)
        raise RackError(f"rack {self.name} has no server {name!r}; it has {known}")

    def inventory(self) -> dict[str, Any]:
        """Return the rack as an inventory document, as Ironlease enrols it."""
        return {
            "site": "lab",
            "rack": "r1",
            "classes": [
                {
                    "name": SERVER_CLASS,
                    "title": "Virtual server, 2 x NVMe",
                    "price_per_hour": "1.20",
                    "currency": "EUR",
                    "sanitisation_floor": "clear",
                }
            ],
            "servers": [self._inventory_of(server) for server in self.servers],
        }

    def _inventory_of(self, server: ServerPlan) -> dict[str, Any]:
        return {
            "name": server.name,
            "class": SERVER_CLASS,
            "serial": server.serial,
            "boot_mac": server.mac,
            "address": server.address,
            "switch_port": server.name,
            "bmc": {
                "protocol": "ipmi",
                "address": server.bmc_address,
                "port": server.bmc_port,
                "username": BMC_USER,
                "password": BMC_PASSWORD,
            },
            "expect": {
                "cpus": 1,
                # Firmware and kernel keep some of the memory for themselves.
                "memory_mib": self.memory_mib * 88 // 100,
                "disks": [{"serial": disk.serial} for disk in server.disks],
            },
        }

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), default=str, indent=2))

    @classmethod
    def load(cls, path: Path) -> RackPlan:
        document = json.loads(path.read_text())
        servers = []
        for server in document.pop("servers"):
            disks = tuple(
                DiskPlan(**{**disk, "path": Path(disk["path"])}) for disk in server["disks"]
            )
            options = MachineOptions(**server["options"])
            servers.append(ServerPlan(**{**server, "disks": disks, "options": options}))
        return cls(**document, servers=tuple(servers))


def run_folder(name: str) -> Path:
    return RUN_ROOT / name


def data_folder(name: str) -> Path:
    return DATA_ROOT / name


def parse_size(text: str) -> int:
    """Return the bytes of a size such as `512M` or `4G` (binary units).

    Raises RackError if the text is not a size.
    """
    match = _SIZE.match(text)
    if match is None:
        raise RackError(f"{text!r} is not a disk size; write it like 512M or 4G")
    return int(match[1]) << (10 * " KMGT".index(match[2] or " "))


def plan_rack(
    name: str = DEFAULT_NAME,
    servers: int = 2,
    *,
    disk_size: str = "4G",
    memory_mib: int = 1024,
    options: Mapping[int, MachineOptions] | None = None,
) -> RackPlan:
    """Lay out a rack of `servers` machines; `options` differ by server number (from 1).

    Raises RackError if the rack cannot be laid out.
    """
    if not _NAME.match(name):
        raise RackError(f"{name!r} is not a rack name; use up to 32 of a-z, 0-9 and '-'")
    if not 1 <= servers <= MAX_SERVERS:
        raise RackError(f"a rack has 1 to {MAX_SERVERS} servers, not {servers}")
    size = parse_size(disk_size)
    return RackPlan(
        name=name,
        memory_mib=memory_mib,
        servers=tuple(
            _plan_server(name, number, size, (options or {}).get(number, MachineOptions()))
            for number in range(1, servers + 1)
        ),
    )


def _plan_server(rack: str, number: int, disk_size: int, options: MachineOptions) -> ServerPlan:
    serials = [f"IL{number:02d}-{letter}" for letter in "AB"]
    return ServerPlan(
        number=number,
        name=f"r1-u{number:02d}",
        serial=f"ILSRV{number:02d}",
        mac=f"52:54:00:77:00:{number:02x}",
        address=f"10.77.0.{10 + number}",
        bmc_address=f"10.78.0.{10 + number}",
        bmc_port=BMC_PORT,
        link_address=f"127.0.1.{number}",
        disks=tuple(
            DiskPlan(serial, f"disk{index}", data_folder(rack) / f"{serial}.raw", disk_size)
            for index, serial in enumerate(serials)
        ),
        options=options,
    )
