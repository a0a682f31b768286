"""The one interface to a server's baseboard management controller (BMC), whatever its protocol.

Errors are :class:`Failure` subclasses; secrets never appear in them. Whether a power action had
its effect is for the caller to observe with :meth:`Bmc.power`: an accepted command proves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from provisioner.domain.failures import Failure, FailureKind
from provisioner.domain.health.bmc_states import BmcState
from provisioner.domain.health.sensors import SensorHealth
from provisioner.domain.storable import clean

LONGEST_TEXT = 300
"""Characters of one text of a BMC that are kept."""


class Power(StrEnum):
    ON = "on"
    OFF = "off"


class PowerAction(StrEnum):
    """IPMI 2.0 section 28.3, Chassis Control."""

    ON = "on"
    OFF = "off"
    RESET = "reset"
    CYCLE = "cycle"
    SHUTDOWN = "shutdown"
    """Press the power button: the system shuts down, if it heeds it."""


class BootDevice(StrEnum):
    NETWORK = "network"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class BmcTarget:
    """Where a BMC answers and how to log in. The password is kept out of every repr."""

    protocol: str
    address: str
    port: int
    username: str
    password: str = field(repr=False)
    next_password: str = field(repr=False, default="")
    """Logged in with where `password` is refused: one that may be in the BMC already."""
    server: str = ""
    """Name of the server, for what a person is told to do."""


def _clean(answer: Any) -> None:
    """A BMC's texts are what its vendor, or a former tenant, wrote into it."""
    for part in fields(answer):
        value = getattr(answer, part.name)
        if type(value) is str:
            object.__setattr__(answer, part.name, clean(value, LONGEST_TEXT))
        elif isinstance(value, tuple) and value and isinstance(value[0], str):
            object.__setattr__(answer, part.name, tuple(clean(t, LONGEST_TEXT) for t in value))


@dataclass(frozen=True, slots=True)
class Sensor:
    """One reading; `value` is None where the sensor has a state and no number."""

    name: str
    kind: str
    value: float | None
    unit: str
    health: SensorHealth
    states: tuple[str, ...] = ()
    """What it tells in words, such as a threshold that is passed."""
    conditions: tuple[BmcState, ...] = ()
    """The same states as the specification numbers them."""

    def __post_init__(self) -> None:
        _clean(self)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One record of the BMC's system event log (SEL)."""

    at: datetime | None
    source: str
    text: str
    severity: str
    state: BmcState | None = None
    """What it says as the specification numbers it; None: an entry in the vendor's own format."""
    asserted: bool = True
    """Whether the state began; otherwise it ended."""

    def __post_init__(self) -> None:
        _clean(self)


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A place in the event log. The time tells a record from a later one of the same number."""

    record: int
    time: int


@dataclass(frozen=True, slots=True)
class LogPart:
    """A bounded part of the event log."""

    entries: Sequence[LogEntry]
    position: LogPosition | None
    """Where it ends; None: the log is empty."""
    follows: bool
    """Whether it follows the position that was asked for. Otherwise it is the end of the log: the
    position is gone, as after somebody cleared the log."""


@dataclass(frozen=True, slots=True)
class BmcUser:
    """Somebody who can log in to the BMC. `privilege` in IPMI's words."""

    id: int
    name: str
    privilege: str


class Bmc(Protocol):
    """Out-of-band control. Every call is bounded in time and may raise the failures below."""

    async def power(self, target: BmcTarget) -> Power: ...

    async def set_power(self, target: BmcTarget, action: PowerAction) -> None: ...

    async def set_boot_device(
        self, target: BmcTarget, device: BootDevice, *, once: bool = True
    ) -> None: ...

    async def sensors(self, target: BmcTarget) -> Sequence[Sensor]: ...

    async def inventory(self, target: BmcTarget) -> dict[str, dict[str, str]]: ...

    async def event_log(self, target: BmcTarget) -> Sequence[LogEntry]: ...

    async def new_log_entries(self, target: BmcTarget, after: LogPosition | None) -> LogPart:
        """What has been logged after a position; without one, the end of the log."""

    async def users(self, target: BmcTarget) -> Sequence[BmcUser]:
        """Every user that can log in."""

    async def disable_user(self, target: BmcTarget, user_id: int) -> None:
        """Whether it had its effect is to be observed with :meth:`users`."""

    async def set_user_password(self, target: BmcTarget, user_id: int, password: str) -> None:
        """Whether it had its effect is to be observed by logging in with it."""

    async def close(self) -> None: ...


class BmcUnreachable(Failure):
    """No answer within the time allowed."""

    code = "bmc_unreachable"
    kind = FailureKind.TRANSIENT

    def __init__(self, target: BmcTarget, detail: str) -> None:
        super().__init__(
            f"BMC {target.address}:{target.port} does not answer: {detail}",
            next_action="check the BMC's power, cable and address; it is tried again by itself",
        )


class BmcLoginRefused(Failure):
    """The BMC answers and refuses the user name or password."""

    code = "bmc_login_refused"
    kind = FailureKind.CONFIGURATION

    def __init__(self, target: BmcTarget, detail: str) -> None:
        super().__init__(
            f"BMC {target.address}:{target.port} refuses the login of "
            f"{target.username!r}: {detail}",
            next_action="correct the BMC's password or user name: "
            f"rackctl server set-bmc {target.server}".rstrip(),
        )


class BmcCommandFailed(Failure):
    """The BMC is logged in to and answers a command with an error."""

    code = "bmc_command_failed"
    kind = FailureKind.TRANSIENT

    def __init__(self, target: BmcTarget, command: str, detail: str) -> None:
        super().__init__(
            f"BMC {target.address}:{target.port} failed {command}: {detail}",
            next_action="it is tried again by itself; if it persists, cold-reset the BMC",
        )
