"""Enrols servers from inventory documents: all of them, or none and every fault is reported."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor, Permission
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.fleet.inventory import ClassEntry, InventoryDocument, ServerEntry
from provisioner.fleet.servers import take_bmc_password
from provisioner.store import audit
from provisioner.store.database import call_attention
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import Lease, Server, ServerClass

_M = TypeVar("_M", bound=BaseModel)
_KEPT = ("classes", "servers")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Server names by outcome."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A server in the documents, and its position."""

    pointer: str
    site: str
    rack: str
    entry: ServerEntry

    def unique(self) -> Iterator[tuple[str, str, str]]:
        """Yield (what, value, pointer) for everything that no two servers may share."""
        bmc = self.entry.bmc
        yield "name", self.entry.name, f"{self.pointer}/name"
        yield "serial", self.entry.serial, f"{self.pointer}/serial"
        yield "boot MAC", self.entry.boot_mac, f"{self.pointer}/boot_mac"
        yield "address", self.entry.address, f"{self.pointer}/address"
        yield "BMC address", _place(str(bmc.address), bmc.port), f"{self.pointer}/bmc/address"


def _unique_in_store(server: Server) -> Iterator[tuple[str, str]]:
    yield "serial", server.serial
    yield "boot MAC", server.boot_mac
    yield "address", server.address
    yield "BMC address", _place(server.bmc_address, server.bmc_port)


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


async def enrol(
    session: AsyncSession,
    documents: Sequence[Any],
    secret_box: SecretBox,
    *,
    actor: Actor,
    now: datetime,
    dry_run: bool = False,
) -> Enrolment:
    """Add servers and classes to the fleet, or update them; idempotent.

    `documents` are decoded JSON or YAML, each an :class:`InventoryDocument`. Raises
    :class:`Refusal` (bad_inventory) with every fault, each pointer starting at `/documents`; then
    nothing is changed. `dry_run` checks and reports without changing anything.
    """
    actor.require(Permission.OPERATE)
    reading = _Reading()
    for position, document in enumerate(documents):
        reading.read(document, f"/documents/{position}")
    known_classes = {c.name: c for c in (await session.exec(select(ServerClass))).all()}
    known = {s.name: s for s in (await session.exec(select(Server))).all()}
    leased = set(
        (await session.exec(select(Lease.server_id).where(col(Lease.ended_at).is_(None)))).all()
    )

    faults = reading.faults
    faults += _duplicates(reading.servers)
    faults += _taken(reading.servers, known)
    for server in reading.servers:
        name = server.entry.class_name
        if name not in known_classes and name not in reading.class_names:
            pointer = f"{server.pointer}/class"
            faults.append(Fault(pointer, f"there is no server class {name!r}"))
    result = Enrolment()
    changes: dict[str, dict[str, Any]] = {}
    for placed in reading.servers:
        server_row = known.get(placed.entry.name)
        if server_row is None:
            result.created.append(placed.entry.name)
            continue
        changes[server_row.name] = _changes(server_row, placed, secret_box)
        if not changes[server_row.name]:
            result.unchanged.append(server_row.name)
            continue
        result.updated.append(server_row.name)
        if server_row.id in leased:
            what = ", ".join(sorted(changes[server_row.name]))
            faults.append(Fault(placed.pointer, f"is leased: its {what} cannot be changed now"))
    if faults:
        raise _refused(faults)
    if dry_run:
        return result

    try:
        for entry in reading.classes:
            _put_class(session, entry, known_classes.get(entry.name), actor, now)
        await session.flush()
        for placed in reading.servers:
            name = placed.entry.name
            await _put_server(
                session,
                placed,
                known.get(name),
                changes.get(name, {}),
                secret_box=secret_box,
                actor=actor,
                now=now,
            )
    except IntegrityError as error:
        raise Refusal(
            RefusalKind.CONFLICT,
            "enrolled_meanwhile",
            "one of these servers was enrolled at the same time by someone else; nothing changed",
            next_action="enrol again",
        ) from error
    return result


async def _put_server(
    session: AsyncSession,
    placed: _Placed,
    row: Server | None,
    changed: dict[str, Any],
    *,
    secret_box: SecretBox,
    actor: Actor,
    now: datetime,
) -> None:
    if row is None:
        password = placed.entry.bmc.password.get_secret_value()
        row = Server(
            **_columns(placed),
            bmc_secret=secret_box.seal(password),
            state_since=now,
            last_used_at=now,
            enrolled_at=now,
        )
        session.add(row)
        audit.record(session, actor, "server.enrol", row.id, now, name=row.name)
    elif changed:
        if "bmc_secret" in changed:
            take_bmc_password(row, changed["bmc_secret"])
        for column, value in changed.items():
            setattr(row, column, value)
        audit.record(session, actor, "server.update", row.id, now, changed=sorted(changed))
    else:
        return
    await session.flush()
    await call_attention(session, row.id)


class _Reading:
    """The entries read from the documents, and the faults found."""

    def __init__(self) -> None:
        self.servers: list[_Placed] = []
        self.classes: list[ClassEntry] = []
        self.class_names: set[str] = set()
        self.faults: list[Fault] = []

    def read(self, document: Any, at: str) -> None:
        if not isinstance(document, dict):
            self.faults.append(Fault(at, "must be a mapping with site, rack and servers"))
            return
        header = {k: v for k, v in document.items() if k not in _KEPT}
        head = self._validate(InventoryDocument, header, at)
        for position, item in enumerate(self._list(document, "classes", at)):
            self._read_class(item, f"{at}/classes/{position}")
        for position, item in enumerate(self._list(document, "servers", at)):
            pointer = f"{at}/servers/{position}"
            entry = self._validate(ServerEntry, item, pointer)
            if entry is not None:
                site, rack = (head.site, head.rack) if head else ("", "")
                self.servers.append(_Placed(pointer, site, rack, entry))

    def _read_class(self, item: Any, pointer: str) -> None:
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            self.class_names.add(item["name"])  # so that its servers are not reported as well
        entry = self._validate(ClassEntry, item, pointer)
        if entry is None:
            return
        earlier = next((c for c in self.classes if c.name == entry.name), None)
        if earlier is None:
            self.classes.append(entry)
        elif earlier != entry:
            self.faults.append(
                Fault(f"{pointer}/name", f"another class {entry.name!r} is described differently")
            )

    def _list(self, document: dict[str, Any], key: str, at: str) -> list[Any]:
        items = document.get(key, [])
        if isinstance(items, list):
            return items
        self.faults.append(Fault(f"{at}/{key}", "must be a list"))
        return []

    def _validate(self, model: type[_M], data: Any, at: str) -> _M | None:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            self.faults += validation_faults(error, at)
            return None


def validation_faults(error: ValidationError, at: str = "") -> list[Fault]:
    """Convert Pydantic's errors to faults with JSON pointers (RFC 6901) below `at`."""
    return [
        Fault(
            at + "".join(f"/{_escape(str(part))}" for part in item["loc"]),
            item["msg"].removeprefix("Value error, "),
        )
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _duplicates(servers: Sequence[_Placed]) -> list[Fault]:
    first: dict[tuple[str, str], tuple[str, str]] = {}
    faults = []
    for server in servers:
        for what, value, pointer in server.unique():
            name, place = first.setdefault((what, value), (server.entry.name, pointer))
            if place != pointer:
                faults.append(Fault(pointer, f"duplicate {what} {value}: {name} has it ({place})"))
    return faults


def _taken(servers: Sequence[_Placed], known: dict[str, Server]) -> list[Fault]:
    owners = {pair: s.name for s in known.values() for pair in _unique_in_store(s)}
    return [
        Fault(pointer, f"{what} {value} belongs to {owner}, which is already enrolled")
        for server in servers
        for what, value, pointer in server.unique()
        if (owner := owners.get((what, value), server.entry.name)) != server.entry.name
    ]


def _columns(placed: _Placed) -> dict[str, Any]:
    entry = placed.entry
    return {
        "name": entry.name,
        "site": placed.site,
        "rack": placed.rack,
        "class_name": entry.class_name,
        "serial": entry.serial,
        "boot_mac": entry.boot_mac,
        "address": entry.address,
        "switch_port": entry.switch_port or "",
        "bmc_protocol": entry.bmc.protocol,
        "bmc_address": str(entry.bmc.address),
        "bmc_port": entry.bmc.port,
        "bmc_username": entry.bmc.username,
        "expect": entry.expect.model_dump(exclude_none=True),
    }


def _changes(server: Server, placed: _Placed, secret_box: SecretBox) -> dict[str, Any]:
    changed = {k: v for k, v in _columns(placed).items() if getattr(server, k) != v}
    password = placed.entry.bmc.password.get_secret_value()
    # A rotated password differs from the inventory's: enrolling the same inventory again changes
    # nothing.
    if secret_box.open(server.bmc_enrolled_secret or server.bmc_secret) != password:
        changed["bmc_secret"] = secret_box.seal(password)
    return changed


def _put_class(
    session: AsyncSession, entry: ClassEntry, known: ServerClass | None, actor: Actor, now: datetime
) -> None:
    wanted: dict[str, Any] = {
        "title": entry.title,
        "price_micro_per_hour": entry.price_micro,
        "currency": entry.currency,
        "sanitisation_floor": entry.sanitisation_floor,
    }
    if known is None:
        session.add(ServerClass(name=entry.name, **wanted))
        audit.record(session, actor, "class.create", entry.name, now)
        return
    changed = {k: v for k, v in wanted.items() if getattr(known, k) != v}
    for column, value in changed.items():
        setattr(known, column, value)
    if changed:
        audit.record(session, actor, "class.update", entry.name, now, changed=sorted(changed))


def _refused(faults: list[Fault]) -> Refusal:
    faults = sorted(faults, key=lambda f: f.pointer)
    return Refusal(
        RefusalKind.INVALID,
        "bad_inventory",
        f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'} in the inventory; "
        f"nothing was changed",
        next_action="fix every fault listed in errors and enrol again",
        faults=tuple(faults),
    )
