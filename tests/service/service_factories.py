"""Rows and documents that tests of the service need, each in one line."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlmodel import select

from provisioner.accounts.passwords import hash_password
from provisioner.domain.access import Role
from provisioner.domain.health.sensors import SensorHealth
from provisioner.domain.lifecycle import State, Step, StepOutcome, Verb
from provisioner.domain.sanitisation import SanitisationLevel
from provisioner.drivers.bmc import (
    BmcTarget,
    BmcUnreachable,
    LogPart,
    LogPosition,
    Power,
    PowerAction,
    Sensor,
)
from provisioner.service.context import Services
from provisioner.store.columns import new_id
from provisioner.store.secrets import new_token, token_hash
from provisioner.store.tables import (
    Account,
    AgentIdentity,
    ApiToken,
    Boot,
    Disk,
    ErasureCertificate,
    Image,
    Lease,
    Operation,
    Reservation,
    Server,
    ServerClass,
    StepLog,
    StepRecord,
)

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"
IMAGE_DIGEST = "ab" * 32


@dataclass
class Clock:
    """A clock that tests turn."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class FakeBmc:
    """Holds the power of every BMC by its address; those in `silent` do not answer."""

    state: dict[str, Power] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    commands: list[tuple[str, PowerAction]] = field(default_factory=list)

    def _reach(self, target: BmcTarget) -> None:
        if target.address in self.silent:
            raise BmcUnreachable(target, "no answer in 1 s")

    async def power(self, target: BmcTarget) -> Power:
        self._reach(target)
        return self.state.get(target.address, Power.OFF)

    async def set_power(self, target: BmcTarget, action: PowerAction) -> None:
        self._reach(target)
        self.commands.append((target.address, action))
        self.state[target.address] = Power.OFF if action is PowerAction.OFF else Power.ON

    async def set_boot_device(self, target: BmcTarget, device: Any, *, once: bool = True) -> None:
        self._reach(target)

    async def sensors(self, target: BmcTarget) -> Sequence[Sensor]:
        self._reach(target)
        return [Sensor("CPU Temp", "temperature", 41.5, "°C", SensorHealth.OK)]

    async def inventory(self, target: BmcTarget) -> dict[str, dict[str, str]]:
        self._reach(target)
        return {"System": {"Serial Number": "ILSRV01"}}

    async def new_log_entries(self, target: BmcTarget, after: LogPosition | None) -> LogPart:
        return LogPart((), after, follows=True)

    async def event_log(self, target: BmcTarget) -> Sequence[Any]:
        self._reach(target)
        return []

    async def close(self) -> None:
        return


def public_key(comment: str = "me@laptop", *, kind: str = "ed25519") -> str:
    """A new public key line."""
    match kind:
        case "ed25519":
            key: Any = Ed25519PrivateKey.generate().public_key()
        case "ecdsa":
            key = ec.generate_private_key(ec.SECP256R1()).public_key()
        case "rsa":
            key = rsa.generate_private_key(65537, 3072).public_key()
        case "rsa-2048":
            key = rsa.generate_private_key(65537, 2048).public_key()
        case "dsa":
            blob = b"\0\0\0\7ssh-dss" + b"\0" * 64
            return f"ssh-dss {base64.b64encode(blob).decode()} {comment}"
        case _:
            raise ValueError(kind)
    line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return f"{line} {comment}".rstrip()


@dataclass
class Factory:
    """Writes rows straight into the database of a service."""

    services: Services

    async def add(self, *rows: Any) -> None:
        """Each row after the ones it refers to."""
        async with self.services.database.write() as session:
            for row in rows:
                session.add(row)
                await session.flush()

    async def merge(self, *rows: Any) -> None:
        """Write rows as they were changed here."""
        async with self.services.database.write() as session:
            for row in rows:
                await session.merge(row)

    async def account(
        self, name: str = "Ada", role: Role = Role.CUSTOMER, *, password: str = ""
    ) -> tuple[Account, str]:
        """An account and a token of it."""
        account = Account(
            name=name,
            email=f"{name.lower()}@example.com",
            role=role,
            password_hash=await hash_password(password) if password else "",
            created_at=self.services.clock(),
        )
        token = new_token("il")
        await self.add(
            account, ApiToken(account_id=account.id, name="test", token_hash=token_hash(token))
        )
        return account, token

    async def server_class(self, name: str = "lab-2nvme") -> ServerClass:
        row = ServerClass(
            name=name,
            title="Virtual server, 2 x NVMe",
            price_micro_per_hour=1_200_000,
            currency="EUR",
        )
        await self.add(row)
        return row

    async def image(self, name: str = "debian-12") -> Image:
        row = Image(
            name=name,
            title="Debian 12",
            digest=IMAGE_DIGEST,
            size_bytes=1 << 30,
            boot={"user": "root"},
        )
        await self.add(row)
        return row

    async def server(
        self, number: int = 1, state: State = State.AVAILABLE, **values: Any
    ) -> Server:
        row = Server(
            **{
                "name": f"r1-u{number:02}",
                "site": "lab",
                "rack": "r1",
                "class_name": "lab-2nvme",
                "serial": f"ILSRV{number:02}",
                "boot_mac": f"52:54:00:77:00:{number:02x}",
                "address": f"10.77.0.{10 + number}",
                "bmc_protocol": "ipmi",
                "bmc_address": f"10.78.0.{10 + number}",
                "bmc_port": 623,
                "bmc_username": "admin",
                "bmc_secret": self.services.secret_box.seal("secret"),
                "state": state,
                "state_since": self.services.clock(),
                "last_used_at": self.services.clock(),
                **values,
            }
        )
        disks = [Disk(server_id=row.id, serial=f"IL{number:02}-{letter}") for letter in "AB"]
        await self.add(row, *disks)
        return row

    async def stock(self, servers: int = 1) -> list[Server]:
        """A class with servers that are free, and an image."""
        await self.server_class()
        await self.image()
        return [await self.server(number + 1) for number in range(servers)]

    async def operation(
        self,
        server: Server,
        verb: Verb = Verb.INSPECT,
        step: Step = Step.AWAIT_RAMDISK,
        **values: Any,
    ) -> Operation:
        row = Operation(server_id=server.id, verb=verb, step=step, **values)
        await self.add(row)
        return row

    async def step(
        self,
        operation: Operation,
        step: Step,
        seconds: float | None = None,
        outcome: StepOutcome = StepOutcome.DONE,
    ) -> None:
        """A step that took so long, or still runs."""
        began = self.services.clock()
        ended = None if seconds is None else began + timedelta(seconds=seconds)
        await self.add(
            StepRecord(
                operation_id=operation.id,
                step=step,
                started_at=began,
                ended_at=ended,
                outcome=StepOutcome.RUNNING if ended is None else outcome,
            )
        )

    async def log(self, operation: Operation, *lines: str) -> list[StepLog]:
        rows = [
            StepLog(operation_id=operation.id, step=operation.step, text=line) for line in lines
        ]
        await self.add(*rows)
        return rows

    async def boot(self, server: Server, operation: Operation, **values: Any) -> tuple[Boot, str]:
        """An open boot window and its token."""
        token, box = new_token("ilboot"), self.services.secret_box
        row = Boot(
            **{
                "server_id": server.id,
                "operation_id": operation.id,
                "token_secret": box.seal(token),
                "token_hash": token_hash(token),
                "host_key": "ssh-ed25519 AAAA",
                "host_key_secret": box.seal("a private host key"),
                "agent_token_secret": box.seal(new_token("ilagent")),
                "opened_at": self.services.clock(),
                "expires_at": self.services.clock() + timedelta(minutes=15),
                **values,
            }
        )
        await self.add(row)
        return row, token

    async def lease(
        self,
        server: Server,
        account: Account,
        *,
        lasts: timedelta = timedelta(hours=2),
        **values: Any,
    ) -> Lease:
        """A lease with its reservation, on the first image."""
        now = self.services.clock()
        async with self.services.database.read() as session:
            image = (await session.exec(select(Image))).first()
        image = image or await self.image()
        reservation = Reservation(
            account_id=account.id,
            class_name=server.class_name,
            image_id=image.id,
            starts_at=now,
            ends_at=now + lasts,
            state="bound",
            hostname="box",
            authorized_keys=[public_key()],
        )
        lease = Lease(
            reservation_id=reservation.id,
            server_id=server.id,
            bound_at=now,
            ends_at=now + lasts,
            **values,
        )
        await self.add(reservation, lease)
        return lease

    async def agent(
        self, server: Server, *, lease: Lease | None = None, boot: Boot | None = None
    ) -> tuple[AgentIdentity, str]:
        token = new_token("ilagent")
        row = AgentIdentity(
            server_id=server.id,
            lease_id=lease.id if lease else None,
            boot_id=boot.id if boot else None,
            token_hash=token_hash(token),
        )
        await self.add(row)
        return row, token

    async def certificate(
        self, server: Server, operation: Operation, serial: str, at: datetime
    ) -> ErasureCertificate:
        row = ErasureCertificate(
            id=new_id("cert"),
            server_id=server.id,
            operation_id=operation.id,
            disk_serial=serial,
            method="nvme_format_user_data",
            level=SanitisationLevel.CLEAR,
            started_at=at,
            finished_at=at + timedelta(seconds=5),
            evidence={"verified": True},
        )
        await self.add(row)
        return row

    async def get_server(self, name: str) -> Server:
        async with self.services.database.read() as session:
            return (await session.exec(select(Server).where(Server.name == name))).one()

    async def get_reservation(self, lease: Lease) -> Reservation:
        async with self.services.database.read() as session:
            return await session.get_one(Reservation, lease.reservation_id)

    async def set(self, row: Any, **values: Any) -> Any:
        """Change a row in the database."""
        async with self.services.database.write() as session:
            found = await session.get_one(type(row), row.id)
            for name, value in values.items():
                setattr(found, name, value)
            return found

    async def get(self, row: Any) -> Any:
        """The row as it is in the database now."""
        async with self.services.database.read() as session:
            return await session.get_one(type(row), row.id)


def document(*numbers: int, **changes: Any) -> dict[str, Any]:
    """An inventory document with servers of these numbers."""
    return {
        "site": "lab",
        "rack": "r1",
        "classes": [
            {
                "name": "lab-2nvme",
                "title": "Virtual server, 2 x NVMe",
                "price_per_hour": "1.20",
                "currency": "EUR",
                "sanitisation_floor": "clear",
            }
        ],
        "servers": [
            {
                "name": f"r1-u{n:02}",
                "class": "lab-2nvme",
                "serial": f"ILSRV{n:02}",
                "boot_mac": f"52:54:00:77:00:{n:02x}",
                "address": f"10.77.0.{10 + n}",
                "bmc": {
                    "protocol": "ipmi",
                    "address": f"10.78.0.{10 + n}",
                    "port": 623,
                    "username": "admin",
                    "password": "secret",
                },
                "expect": {"cpus": 1},
            }
            for n in numbers
        ],
        **changes,
    }
