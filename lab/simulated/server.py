"""One simulated machine: what its power, its memory and its disks hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from provisioner.domain.health.sensors import SensorHealth

OFF, FIRMWARE, RAMDISK, TENANT = "off", "firmware", "ramdisk", "tenant"

SECRET = "the tenant's secret"


@dataclass
class SimulatedServer:
    """One machine: what its power, its memory and its disks hold."""

    name: str
    serial: str
    mac: str
    address: str
    bmc_address: str
    disks: dict[str, str]
    """Content by serial; an empty one is all zeroes."""
    cpus: int = 8
    memory_mib: int = 16384
    gpus: int = 0
    purges: bool = True
    """Its disks can be purged, not only cleared."""
    id: str = ""
    """The provisioner's identifier of the server."""
    running: str = OFF
    boot_from_network: bool = False
    boot_token: str = ""
    boot_nonce: str = ""
    """What its ramdisk, while it starts, asks for its identity with until it gets an answer."""
    host_key: str = ""
    agent_token: str = ""
    installed: dict[str, Any] = field(default_factory=dict)
    """What personalisation wrote to the system disk."""
    kexec_loaded: bool = False
    port_open: bool = True
    boot_allowed: bool = False
    """Its port is open to the provisioner alone."""
    bmc_password: str = "secret"
    event_log: list[dict[str, Any]] = field(default_factory=list)
    """What the BMC recorded: `at`, `source`, `state` as IPMI numbers it, `asserted`."""
    bmc_users: list[str] = field(default_factory=lambda: ["admin", "ironlease"])
    faults: list[str] = field(default_factory=list)
    """no_bmc, bad_password, no_dhcp, boots_disk, stubborn_disk, corrupt_image, no_tenant_boot,
    no_switch, ignores_button, stubborn_bmc_user, failing_disk (always), hung_disk (until a power
    cycle), lost GPUs such as `lost_gpu:3`, and sensors of the BMC such as `critical:PSU 2` or
    `unavailable:Fan 1`."""
    counts: dict[str, int] = field(default_factory=dict)
    tenants: list[str] = field(default_factory=list)
    """What each tenant system found on its disks when it started: instance ids and secrets."""

    @property
    def reaches_provisioner(self) -> bool:
        return self.port_open or self.boot_allowed

    def health_of(self, sensor: str) -> SensorHealth:
        """Return what the BMC reports about one of its sensors."""
        told = (fault.split(":")[0] for fault in self.faults if fault.endswith(f":{sensor}"))
        return SensorHealth(next(told, SensorHealth.OK))

    def record(
        self, at: datetime, source: str, state: tuple[int, int, int], *, asserted: bool = True
    ) -> None:
        """Add an entry to the BMC's event log."""
        self.event_log.append(
            {"at": at.isoformat(), "source": source, "state": list(state), "asserted": asserted}
        )

    @property
    def lost_gpus(self) -> frozenset[int]:
        """Indices of the GPUs that have fallen off the bus."""
        lost = (fault.partition(":") for fault in self.faults)
        return frozenset(int(index) for kind, _, index in lost if kind == "lost_gpu")

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


def numbered_servers(count: int) -> list[SimulatedServer]:
    """Return servers `sim-01` … with two disks each, which hold old data."""
    return [_numbered(number) for number in range(1, count + 1)]


def servers_of(documents: Sequence[Mapping[str, Any]]) -> list[SimulatedServer]:
    """Return a simulated server for each one in the enrolment documents, with what they expect."""
    return [
        SimulatedServer(
            name=entry["name"],
            serial=entry["serial"],
            mac=entry["boot_mac"],
            address=entry["address"],
            bmc_address=entry["bmc"]["address"],
            bmc_password=entry["bmc"]["password"],
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
