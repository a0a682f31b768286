"""A small fleet in the database, one server in each situation an operator meets, and their BMC."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health.sensors import SensorHealth
from provisioner.domain.lifecycle import OperationState, State, Step, StepOutcome, Verb
from provisioner.domain.sanitisation import SanitisationLevel
from provisioner.drivers.bmc import (
    BmcTarget,
    BmcUnreachable,
    BootDevice,
    LogEntry,
    LogPart,
    LogPosition,
    Power,
    PowerAction,
    Sensor,
)
from provisioner.store.columns import utc_now
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import (
    Account,
    Disk,
    ErasureCertificate,
    Image,
    Incident,
    Operation,
    Server,
    ServerClass,
    StepLog,
    StepRecord,
)

CLASS = "lab-2nvme"
CUSTOMER = "ada@example.com"
BMC_PASSWORD = "the-bmc-password"
WHY = "disk IL03-A still holds data after nvme_format_crypto"


class FakeBmc:
    """Power of servers by BMC address; those in `silent` do not answer."""

    def __init__(self) -> None:
        self.powered: dict[str, Power] = {}
        self.silent: set[str] = set()
        self.passwords: dict[str, str] = {}

    def _reach(self, target: BmcTarget) -> None:
        self.passwords[target.address] = target.password
        if target.address in self.silent:
            raise BmcUnreachable(target, "no answer in 10 s")

    async def power(self, target: BmcTarget) -> Power:
        self._reach(target)
        return self.powered.get(target.address, Power.ON)

    async def set_power(self, target: BmcTarget, action: PowerAction) -> None:
        self._reach(target)
        self.powered[target.address] = Power.OFF if action is PowerAction.OFF else Power.ON

    async def set_boot_device(
        self, target: BmcTarget, device: BootDevice, *, once: bool = True
    ) -> None:
        self._reach(target)

    async def sensors(self, target: BmcTarget) -> Sequence[Sensor]:
        self._reach(target)
        return [Sensor("CPU1 Temp", "temperature", 41.0, "degrees C", SensorHealth.OK)]

    async def inventory(self, target: BmcTarget) -> dict[str, dict[str, str]]:
        self._reach(target)
        return {"System": {"Serial Number": "ILSRV01"}}

    async def new_log_entries(self, target: BmcTarget, after: LogPosition | None) -> LogPart:
        return LogPart((), after, follows=True)

    async def event_log(self, target: BmcTarget) -> Sequence[LogEntry]:
        self._reach(target)
        return [LogEntry(utc_now(), "PSU1", "Power supply input lost", "critical")]

    async def close(self) -> None:
        pass


async def seed(session: AsyncSession, box: SecretBox) -> None:
    """r1-u01 available, r1-u02 being sanitised, r1-u03 quarantined, r1-u04 parked."""
    now = utc_now()
    session.add(
        ServerClass(
            name=CLASS, title="Virtual server", price_micro_per_hour=1_200_000, currency="EUR"
        )
    )
    session.add(Account(name="Ada", email=CUSTOMER))
    session.add(
        Image(
            name="debian-12",
            title="Debian 12",
            digest="ab" * 32,
            size_bytes=402_000_000,
            boot={"user": "root"},
        )
    )
    await session.flush()
    long_ago = now - timedelta(minutes=3, seconds=12)
    await _server(session, box, 1, State.AVAILABLE, long_ago)
    wiping = await _server(session, box, 2, State.SANITISING, long_ago)
    await _operation(
        session,
        wiping,
        Verb.SANITISE,
        Step.SANITISE_DISKS,
        OperationState.RUNNING,
        lines=3,
        now=now,
    )
    faulty = await _server(session, box, 3, State.QUARANTINED, long_ago)
    faulty.reason, faulty.next_action = (
        WHY,
        "replace the disk; then: rackctl server repaired r1-u03",
    )
    failed = await _operation(
        session,
        faulty,
        Verb.SANITISE,
        Step.SANITISE_DISKS,
        OperationState.FAILED,
        lines=20,
        now=now,
    )
    _incident(session, faulty, failed, "fault")
    parked = await _server(session, box, 4, State.INSPECTING, long_ago)
    parked.reason, parked.next_action = "BMC refuses the login of 'admin'", "rackctl server set-bmc"
    waits = await _operation(
        session, parked, Verb.INSPECT, Step.POWER_OFF, OperationState.PARKED, lines=0, now=now
    )
    _incident(session, parked, waits, "step")


async def _server(
    session: AsyncSession, box: SecretBox, number: int, state: State, since: datetime
) -> Server:
    server = Server(
        name=f"r1-u{number:02d}",
        site="lab",
        rack="r1",
        class_name=CLASS,
        serial=f"ILSRV{number:02d}",
        boot_mac=f"52:54:00:77:00:{number:02x}",
        address=f"10.77.0.{10 + number}",
        bmc_protocol="ipmi",
        bmc_address=f"10.78.0.{10 + number}",
        bmc_port=623,
        bmc_username="admin",
        bmc_secret=box.seal(BMC_PASSWORD),
        state=state,
        state_since=since,
        last_used_at=since,
        facts={"cpus": 1, "memory_mib": 1000, "disks": []},
    )
    session.add(server)
    await session.flush()
    for letter in "AB":
        session.add(
            Disk(
                server_id=server.id,
                serial=f"IL{number:02d}-{letter}",
                model="QEMU NVMe Ctrl",
                transport="nvme",
                size_bytes=4 << 30,
            )
        )
    return server


async def _operation(
    session: AsyncSession,
    server: Server,
    verb: Verb,
    step: Step,
    state: OperationState,
    *,
    lines: int,
    now: datetime,
) -> Operation:
    over = state in (OperationState.DONE, OperationState.FAILED)
    operation = Operation(
        server_id=server.id,
        verb=verb,
        step=step,
        state=state,
        attempt=2 if state is OperationState.PARKED else 0,
        ended_at=now if over else None,
    )
    session.add(operation)
    await session.flush()
    session.add(
        StepRecord(
            operation_id=operation.id,
            step=step,
            ended_at=now if over else None,
            outcome=StepOutcome.FAILED if over else StepOutcome.RUNNING,
            detail=WHY if over else "",
        )
    )
    for number in range(1, lines + 1):
        await log_line(session, operation.id, number, step)
    if verb is Verb.SANITISE:
        session.add(
            ErasureCertificate(
                server_id=server.id,
                operation_id=operation.id,
                disk_serial=f"{server.serial[:2]}{server.serial[-2:]}-B",
                method="nvme_format_crypto",
                level=SanitisationLevel.PURGE,
                started_at=now,
                finished_at=now,
                evidence={},
            )
        )
    return operation


async def log_line(session: AsyncSession, operation_id: str, number: int, step: Step) -> None:
    session.add(StepLog(operation_id=operation_id, step=step, text=f"line {number} of the wipe"))
    await session.flush()


def _incident(session: AsyncSession, server: Server, operation: Operation, kind: str) -> None:
    session.add(
        Incident(
            server_id=server.id,
            operation_id=operation.id,
            kind=kind,
            reason=server.reason,
            next_action=server.next_action,
        )
    )
