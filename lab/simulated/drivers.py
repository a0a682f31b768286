"""The drivers' interfaces over simulated machines."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lab.simulated.rack import SimulatedRack
from lab.simulated.server import FIRMWARE, OFF, RAMDISK, TENANT, SimulatedServer
from provisioner.domain.failures import FailureKind
from provisioner.domain.health.bmc_states import TYPES, BmcState
from provisioner.domain.health.sensors import SensorHealth
from provisioner.drivers.bmc import (
    BmcLoginRefused,
    BmcTarget,
    BmcUnreachable,
    BmcUser,
    BootDevice,
    LogEntry,
    LogPart,
    LogPosition,
    Power,
    PowerAction,
    Sensor,
)
from provisioner.drivers.netboot.external import ExternalNetboot
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


def simulated_drivers(rack: SimulatedRack) -> Drivers:
    """Return what a provisioner needs to run the rack's machines."""
    return Drivers(
        bmc=SimulatedBmc(rack),
        plays=SimulatedPlays(rack),
        ssh=SimulatedSsh(rack),
        netboot=ExternalNetboot(),
        switch=SimulatedSwitch(rack),
    )


_OFFSETS = {
    "Memory": (6, 0, 1),
    "Drive Bay": (0, 2, 1),
    "LAN": (1, 0, 0),
}
"""Of what has states: the offset when all is well, and those of a warning and a failure."""


def _conditions(kind: str, health: SensorHealth) -> tuple[BmcState, ...]:
    if kind not in _OFFSETS:
        return ()
    well, warning, failure = _OFFSETS[kind]
    offset = {SensorHealth.OK: well, SensorHealth.WARNING: warning}.get(health, failure)
    return (BmcState(TYPES[kind], 0x6F, offset),)


class SimulatedBmc:
    def __init__(self, rack: SimulatedRack) -> None:
        self._rack = rack

    def _server(self, target: BmcTarget) -> SimulatedServer:
        server = self._rack.at(target.address)
        if server is None or "no_bmc" in server.faults:
            raise BmcUnreachable(target, "no answer")
        known = server.bmc_password in (target.password, target.next_password)
        if "bad_password" in server.faults or not known:
            server.count("refused_logins")
            raise BmcLoginRefused(target, "wrong password")
        return server

    async def power(self, target: BmcTarget) -> Power:
        server = self._server(target)
        await self._rack.advance(server)
        return Power.OFF if server.running == OFF else Power.ON

    async def set_power(self, target: BmcTarget, action: PowerAction) -> None:
        server = self._server(target)
        if action is PowerAction.SHUTDOWN:
            server.count("power_button")
            if server.running == TENANT and "ignores_button" not in server.faults:
                server.running = OFF
        elif action is PowerAction.OFF:
            server.running = OFF
            server.faults = [fault for fault in server.faults if fault != "hung_disk"]
        elif action is not PowerAction.ON or server.running == OFF:
            server.running = FIRMWARE
            server.count("power_ons")
        server.kexec_loaded, server.boot_token = False, ""
        self._rack.save()

    async def set_boot_device(
        self, target: BmcTarget, device: BootDevice, *, once: bool = True
    ) -> None:
        server = self._server(target)
        server.boot_from_network = device is BootDevice.NETWORK
        self._rack.save()

    async def sensors(self, target: BmcTarget) -> Sequence[Sensor]:
        server = self._server(target)
        return [
            Sensor(
                name,
                kind,
                value,
                unit,
                server.health_of(name),
                conditions=_conditions(kind, server.health_of(name)),
            )
            for name, kind, value, unit in (
                ("Inlet Temp", "Temperature", 24.0, "°C"),
                ("Fan 1", "Fan", 8400.0, "RPM"),
                ("PSU 1", "Power Supply", None, ""),
                ("PSU 2", "Power Supply", None, ""),
                ("DIMM A1", "Memory", None, ""),
                ("Drive 0", "Drive Bay", None, ""),
                ("LAN 1", "LAN", None, ""),
            )
        ]

    async def inventory(self, target: BmcTarget) -> dict[str, dict[str, str]]:
        server = self._server(target)
        return {"System": {"Serial Number": server.serial}}

    async def event_log(self, target: BmcTarget) -> Sequence[LogEntry]:
        self._server(target)
        return []

    async def new_log_entries(self, target: BmcTarget, after: LogPosition | None) -> LogPart:
        server = self._server(target)
        count = len(server.event_log)
        begin = after.record if after else 0
        entries = [
            LogEntry(
                at=datetime.fromisoformat(each["at"]),
                source=each["source"],
                text="",
                severity="",
                state=BmcState(*each["state"]),
                asserted=each["asserted"],
            )
            for each in server.event_log[begin:]
        ]
        position = LogPosition(count, 0) if count else None
        return LogPart(entries, position, follows=after is not None)

    async def users(self, target: BmcTarget) -> Sequence[BmcUser]:
        names = self._server(target).bmc_users
        return [BmcUser(id, name, "administrator") for id, name in enumerate(names, 1) if name]

    async def disable_user(self, target: BmcTarget, user_id: int) -> None:
        server = self._server(target)
        if "stubborn_bmc_user" not in server.faults:
            server.bmc_users[user_id - 1] = ""
        self._rack.save()

    async def set_user_password(self, target: BmcTarget, user_id: int, password: str) -> None:
        server = self._server(target)
        if server.bmc_users[user_id - 1] == target.username:
            server.bmc_password = password
        self._rack.save()

    async def close(self) -> None:
        """Do nothing: no connection is kept open."""


class SimulatedSsh:
    def __init__(self, rack: SimulatedRack) -> None:
        self._rack = rack

    async def probe(self, target: SshTarget, *, timeout_s: float = 5.0) -> SshState:
        server = self._rack.at(target.address)
        if server is None:
            return SshState.UNREACHABLE
        await self._rack.advance(server)
        if server.running not in (RAMDISK, TENANT) or not server.reaches_provisioner:
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
            PlayEvent(self._rack.clock(), PlayEventKind.TASK, playbook, f"simulated {playbook}")
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

    def _sanitise(self, server: SimulatedServer, variables: Mapping[str, Any]) -> dict[str, Any]:
        now = self._rack.clock().isoformat()
        results = []
        for order in variables["disks"]:
            stubborn = "stubborn_disk" in server.faults
            if not stubborn:
                server.disks[order["serial"]] = ""
            results.append(
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
        return {"results": results}

    def _validate(self, server: SimulatedServer, variables: Mapping[str, Any]) -> dict[str, Any]:
        return {"validation": {"summary": "simulated hardware is as inspected"}}

    def _image(self, server: SimulatedServer, variables: Mapping[str, Any]) -> dict[str, Any]:
        if "corrupt_image" in server.faults:
            raise PlayFailed(
                "image chunk 3 is corrupt",
                next_action="import the image again",
                kind=FailureKind.CONFIGURATION,
            )
        if {"failing_disk", "hung_disk"} & set(server.faults):
            raise PlayFailed("disk: Input/output error", next_action="replace the disk")
        server.disks[variables["disk_serial"]] = f"image {variables['image_digest']}"
        return {"imaging": {"bytes_written": 1 << 30, "seconds": 1.0}}

    def _personalise(self, server: SimulatedServer, variables: Mapping[str, Any]) -> dict[str, Any]:
        server.installed = {
            key: variables[key]
            for key in ("instance_id", "authorized_keys", "ssh_host_public_key", "agent")
        }
        server.kexec_loaded = True
        return {"kexec_loaded": True}

    def _recover_bmc_access(
        self, server: SimulatedServer, variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        server.bmc_users[0] = variables["username"]
        server.bmc_password = variables["password"]
        return {}


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
        server = self._server(port)
        server.port_open, server.boot_allowed = is_open, False
        self._rack.save()

    async def allow_boot(self, port: str, mac: str) -> None:
        server = self._server(port)
        server.port_open, server.boot_allowed = False, True
        self._rack.save()

    async def port_is_open(self, port: str) -> bool:
        return self._server(port).port_open
