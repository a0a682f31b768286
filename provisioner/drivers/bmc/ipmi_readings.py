"""Sensors and inventory: conversations of many commands, decoded by pyghmi.

pyghmi's decoders block, so they run in a worker thread on a :class:`BlockingCommand`, whose every
single command goes through the IPMI thread. Blocking calls; `ipmi.py` bounds and schedules them.
"""

import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from pyghmi.constants import Health
from pyghmi.exceptions import PyghmiException
from pyghmi.ipmi.command import Command

from provisioner.domain.health.bmc_states import BmcState
from provisioner.domain.health.sensors import SensorHealth
from provisioner.domain.storable import clean
from provisioner.drivers.bmc.base import LONGEST_TEXT, BmcTarget, Sensor
from provisioner.drivers.bmc.ipmi_session import Response

# IPMI 2.0 table 5-2. Some BMCs refuse a long inventory read with C8h; pyghmi reads in smaller
# pieces only after CAh.
_REQUEST_TOO_LONG, _CANNOT_RETURN_SO_MANY = 0xC8, 0xCA
_READ_FRU = (0x0A, 0x11)

_WORST_FIRST = (
    (Health.Failed, SensorHealth.FAILED),
    (Health.Critical, SensorHealth.CRITICAL),
    (Health.Warning, SensorHealth.WARNING),
)

Ask = Callable[[int, int, tuple[int, ...], int], Response]
"""(netfn, command, data, lun) → the response; blocks; raises NoAnswer."""

UNDECODABLE = (
    PyghmiException,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pyghmi's decoders raise on error codes and on data that no specification foresees."""


class BlockingCommand(Command):  # type: ignore[misc]  # pyghmi has no types
    """pyghmi's Command over a session that another thread owns.

    Does not call `Command.__init__`, which would log in by itself; the attributes are those it
    sets. `until` (monotonic seconds) ends a conversation that a BMC drags out for ever.
    """

    def __init__(self, target: BmcTarget, ask: Ask, until: float) -> None:
        self.bmc = target.address
        # Vendors' decoders log in to the BMC's web server with what the session was opened with.
        self.userid = target.username.encode()
        self.password = target.password.encode()
        self.certverify = None
        self.kwargs: dict[str, object] = {}
        self.ipmi_session = self
        self._ask = ask
        self._until = until
        self._sdr: Any = None
        self._sdrcachedir = None
        self._oem: Any = None
        self._oemknown = False
        self._netchannel = None
        self._ipv6support = None

    def raw_command(  # noqa: PLR0917  # pyghmi's signature
        self,
        netfn: int,
        command: int,
        bridge_request: Any = (),
        data: Sequence[int] = (),
        delay_xmit: float | None = None,
        retry: bool = True,
        timeout: float | None = None,
        rslun: int = 0,
    ) -> Response:
        if bridge_request:
            raise NotImplementedError("commands bridged to a satellite controller")
        if time.monotonic() > self._until:
            raise TimeoutError("the conversation takes too long")
        response = self._ask(netfn, command, tuple(data), rslun)
        if (netfn, command) == _READ_FRU and response["code"] == _REQUEST_TOO_LONG:
            response["code"] = _CANNOT_RETURN_SO_MANY
        return response


def read_sensors(command: BlockingCommand) -> list[Sensor]:
    return [
        Sensor(
            name=reading.name,
            kind=reading.type,
            value=None if reading.value is None else float(reading.value),
            unit=reading.units or "",
            health=SensorHealth.UNAVAILABLE if reading.unavailable else health_of(reading.health),
            states=tuple(reading.states),
            # Type, event type and offset in one number. Vendors' decoders leave it out.
            conditions=tuple(
                BmcState(number >> 16, number >> 8 & 0xFF, number & 0xFF)
                for number in getattr(reading, "state_ids", ())
            ),
        )
        for reading in command.get_sensor_data()
    ]


def read_inventory(command: BlockingCommand) -> dict[str, dict[str, str]]:
    return {
        clean(component, LONGEST_TEXT): {
            clean(name, LONGEST_TEXT): clean(str(value), LONGEST_TEXT)
            for name, value in facts.items()
            if isinstance(value, str | int | float) and value != ""
        }
        for component, facts in command.get_inventory()
        if facts
    }


def health_of(flags: int | None) -> SensorHealth:
    """The worst of pyghmi's flags that are set."""
    if flags == Health.Ok:
        return SensorHealth.OK
    worst = (health for flag, health in _WORST_FIRST if flags is not None and flags & flag)
    return next(worst, SensorHealth.UNKNOWN)
