"""The messages between a machine and the provisioner, used by both sides.

They are immutable values with `to_json` and `from_json`. Unknown fields are ignored, so either side
may be newer. Callers send and store them.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
import re
from typing import Any, TypeVar

from agent import signals

_T = TypeVar("_T")
_M = TypeVar("_M", bound="Message")
Object = dict[str, Any]
_encode = json.JSONEncoder(separators=(",", ":")).encode

_MOST_IN_KEYS = 16 * 1024
"""Characters of keys, and of what is signed."""
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_LARGEST = 1 << 53
"""Above any sequence, and any time in seconds: up to here floats have every whole number."""

RAMDISK = "ramdisk"
TENANT = "tenant"
CONTEXTS = (RAMDISK, TENANT)


class ProtocolError(ValueError):
    """A message that breaks the protocol; the text names the field and what was expected."""


@dataclasses.dataclass(frozen=True)
class Message:
    """Base of all messages, which are plain JSON objects in both directions."""

    def to_dict(self) -> Object:
        return {n: v.to_dict() if isinstance(v, Message) else v for n, v in vars(self).items()}

    def to_json(self) -> str:
        return _encode(self.to_dict())

    @classmethod
    def from_json(cls: type[_M], text: str | bytes) -> _M:
        """Parse and validate. Raises `ProtocolError`."""
        try:
            data = json.loads(text)
        except ValueError as error:  # also covers bytes that are not UTF-8
            raise ProtocolError(f"{cls.__name__}: not JSON: {error}") from error
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls: type[_M], data: object) -> _M:
        """Validate a decoded JSON value. Raises `ProtocolError`."""
        if not isinstance(data, dict):
            raise ProtocolError(f"{cls.__name__}: expected an object, got {type(data).__name__}")
        try:
            return cls._read(data)
        except ProtocolError as error:
            raise ProtocolError(f"{cls.__name__}: {error}") from error

    @classmethod
    def _read(cls: type[_M], data: Object) -> _M:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Grant(Message):
    """A lease as the provisioner grants it to one machine.

    Times are Unix seconds by the provisioner's clock: the machine's own clock belongs to the tenant
    and is not trusted.
    """

    lease: str
    server: str
    serial: str
    """The serial number in the machine's firmware, as inventoried."""
    not_before: float
    not_after: float
    issued_at: float
    sequence: int
    """Raised by every change of the end; a lower one is out of date."""
    echo: str
    """The nonce of the request that this answers; empty in a configuration, which answers none."""

    @classmethod
    def _read(cls, data: Object) -> Grant:
        return cls(
            lease=read_text(data, "lease"),
            server=read_text(data, "server"),
            serial=read_any_text(data, "serial"),  # some boards have an empty serial number
            not_before=read_seconds(data, "not_before"),
            not_after=read_seconds(data, "not_after"),
            issued_at=read_seconds(data, "issued_at"),
            sequence=read_count(data, "sequence"),
            echo=read_any_text(data, "echo"),
        )


@dataclasses.dataclass(frozen=True)
class SignedGrant(Message):
    """A grant's JSON text exactly as signed, and its Ed25519 signature (RFC 8032) in base64."""

    grant: str
    signature: str

    @classmethod
    def _read(cls, data: Object) -> SignedGrant:
        return cls(
            grant=read_text(data, "grant", most=_MOST_IN_KEYS),
            signature=read_text(data, "signature"),
        )


@dataclasses.dataclass(frozen=True)
class LeaseState(Message):
    """The lease as the agent holds it: seconds left by its clock, and whether access is closed."""

    id: str
    remaining_s: float
    locked: bool

    @classmethod
    def _read(cls, data: Object) -> LeaseState:
        return cls(
            id=read_text(data, "id"),
            remaining_s=read_seconds(data, "remaining_s"),
            locked=_value(data, "locked", bool),
        )


@dataclasses.dataclass(frozen=True)
class AgentConfig(Message):
    """`/etc/ironlease/agent.json`: where to report, as whom, and how often (`interval_s`)."""

    url: str
    server: str
    token: str = dataclasses.field(repr=False)
    context: str
    interval_s: float
    grant: SignedGrant | None
    """None in the ramdisk, which has no tenant."""
    grant_key: str = ""
    """The site's public key for grants, raw, in base64."""
    serial: str = ""
    """The serial number of the machine that this was written for."""

    @classmethod
    def _read(cls, data: Object) -> AgentConfig:
        return cls(
            url=_url(data, "url"),
            server=read_text(data, "server"),
            token=read_text(data, "token"),
            context=_context(data),
            interval_s=_interval(data),
            grant=_optional(data, "grant", SignedGrant),
            grant_key=_base64({"grant_key": "", **data}, "grant_key"),
            serial=read_any_text({"serial": "", **data}, "serial"),
        )


@dataclasses.dataclass(frozen=True)
class Report(Message):
    """`POST {url}/agents/report`.

    `sequence` counts up from 1 within one run of the agent; `boot_id` is the kernel's and reveals
    reboots.
    """

    server: str
    context: str
    boot_id: str
    sequence: int
    uptime_s: float
    agent_version: str
    hostname: str
    lease: LeaseState | None
    health: Object | None = None
    """Signals as listed in `agent.signals`; None from an agent that does not read any."""
    echo: str = ""
    """A nonce for the grant in the answer; without one, the answer carries no grant."""

    @classmethod
    def _read(cls, data: Object) -> Report:
        return cls(
            server=read_text(data, "server"),
            context=_context(data),
            boot_id=read_text(data, "boot_id"),
            sequence=read_count(data, "sequence"),
            uptime_s=read_seconds(data, "uptime_s"),
            agent_version=read_text(data, "agent_version"),
            hostname=read_text(data, "hostname"),
            lease=_optional(data, "lease", LeaseState),
            health=_health(data),
            echo=read_any_text({"echo": "", **data}, "echo"),
        )


@dataclasses.dataclass(frozen=True)
class ReportAnswer(Message):
    """The answer to a report: when to report next, and the lease as the provisioner sees it now."""

    interval_s: float
    grant: SignedGrant | None

    @classmethod
    def _read(cls, data: Object) -> ReportAnswer:
        return cls(interval_s=_interval(data), grant=_optional(data, "grant", SignedGrant))


@dataclasses.dataclass(frozen=True)
class IdentityRequest(Message):
    """`POST {url}/boot/identity`: the ramdisk spends its single-use boot token.

    It may repeat the request, with the same nonce, if the answer was lost.
    """

    token: str = dataclasses.field(repr=False)
    boot_id: str
    serial: str
    mac: str
    nonce: str = dataclasses.field(default="", repr=False)
    """Random, made once per boot; without one the request cannot be repeated."""

    @classmethod
    def _read(cls, data: Object) -> IdentityRequest:
        return cls(
            token=read_text(data, "token"),
            boot_id=read_text(data, "boot_id"),
            serial=read_any_text(data, "serial"),  # some boards have an empty serial number
            mac=read_text(data, "mac"),
            nonce=_nonce(data),
        )


@dataclasses.dataclass(frozen=True)
class Identity(Message):
    """The answer to an identity request, with all that the ramdisk needs.

    Who it is, the host key it must present, the only key that may log in, and its agent's
    configuration.
    """

    server: str
    hostname: str
    ssh_host_key: str = dataclasses.field(repr=False)
    authorized_key: str
    agent: AgentConfig

    @classmethod
    def _read(cls, data: Object) -> Identity:
        return cls(
            server=read_text(data, "server"),
            hostname=read_text(data, "hostname"),
            ssh_host_key=read_text(data, "ssh_host_key", most=_MOST_IN_KEYS),
            authorized_key=read_text(data, "authorized_key", most=_MOST_IN_KEYS),
            agent=AgentConfig.from_dict(data.get("agent")),
        )


@dataclasses.dataclass(frozen=True)
class Ready(Message):
    """`POST {url}/boot/ready`: the ramdisk's sshd is listening."""

    boot_id: str

    @classmethod
    def _read(cls, data: Object) -> Ready:
        return cls(boot_id=read_text(data, "boot_id"))


def _value(data: Object, name: str, kind: type[_T]) -> _T:
    try:
        value = data[name]
    except KeyError:
        raise ProtocolError(f"{name}: missing") from None
    # JSON keeps true and 1 apart; isinstance(True, int) does not.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ProtocolError(f"{name}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def read_text(data: Object, name: str, *, most: int = signals.MOST_CHARACTERS) -> str:
    text = read_any_text(data, name, most=most)
    if not text:
        raise ProtocolError(f"{name}: empty")
    return text


def read_any_text(data: Object, name: str, *, most: int = signals.MOST_CHARACTERS) -> str:
    """Text that may be empty."""
    text = _value(data, name, str)
    if not signals.is_text(text, most):
        raise ProtocolError(f"{name}: expected text of at most {most} characters, none of them NUL")
    return text


def read_number(data: Object, name: str) -> float:
    value = data.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > _LARGEST:
            raise ProtocolError(f"{name}: expected a number up to {_LARGEST}")
        data = {name: float(value)}
    number = _value(data, name, float)
    if not math.isfinite(number) or abs(number) > _LARGEST:
        raise ProtocolError(f"{name}: expected a finite number up to {_LARGEST}")
    return number


def read_seconds(data: Object, name: str) -> float:
    seconds = read_number(data, name)
    if seconds < 0:
        raise ProtocolError(f"{name}: expected seconds, 0 or more")
    return seconds


def read_count(data: Object, name: str) -> int:
    count = _value(data, name, int)
    if not 1 <= count <= _LARGEST:
        raise ProtocolError(f"{name}: expected 1 or more, up to {_LARGEST}")
    return count


def _interval(data: Object) -> float:
    interval = read_seconds(data, "interval_s")
    if interval <= 0:
        raise ProtocolError("interval_s: expected more than 0 seconds")
    return interval


def _context(data: Object) -> str:
    context = read_text(data, "context")
    if context not in CONTEXTS:
        raise ProtocolError(f"context: expected one of {', '.join(CONTEXTS)}, got {context!r}")
    return context


def _health(data: Object) -> Object | None:
    if data.get("health") is None:
        return None
    try:
        return signals.checked(data["health"])
    except ValueError as error:
        raise ProtocolError(f"health: {error}") from error


def _nonce(data: Object) -> str:
    nonce = read_any_text({"nonce": "", **data}, "nonce")
    if nonce and not _NONCE.fullmatch(nonce):
        raise ProtocolError("nonce: expected 16 to 64 characters of A-Z, a-z, 0-9, - and _")
    return nonce


def _base64(data: Object, name: str) -> str:
    text = read_any_text(data, name)
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ProtocolError(f"{name}: not base64: {error}") from error
    return text


def _url(data: Object, name: str) -> str:
    url = read_text(data, name, most=_MOST_IN_KEYS)
    if not url.startswith(("http://", "https://")):
        raise ProtocolError(f"{name}: expected an http or https address, got {url!r}")
    return url.rstrip("/")


def _optional(data: Object, name: str, kind: type[_M]) -> _M | None:
    value = data.get(name)
    return None if value is None else kind.from_dict(value)
