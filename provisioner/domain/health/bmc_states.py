"""What the states in a BMC's sensors and event log say about a server's health.

One table for both. Sensor types, event types and offsets are those of the IPMI 2.0 specification:
table 42-3 for the states that belong to a sensor type (event type 6Fh), table 42-2 for the generic
severities (07h) and predicted failures (04h). A state that is not listed is no evidence.

`WATCH` is the rule where hardware goes on working or the state has harmless causes, because what
drains a server takes it out of the pool: corrected errors, a throttled processor, a slot's fault
lamp. `DRAIN` is for what the standard calls uncorrectable, fatal or failed.
"""

from collections.abc import Iterable
from typing import NamedTuple

WATCH, DRAIN = 1, 2
"""Severities, as the rules of sensors compare them."""

SPECIFIC, _PREDICTIVE, _SEVERITY = 0x6F, 0x04, 0x07
_PROCESSOR, _MEMORY, _DRIVE, _FIRMWARE, _BUS = 0x07, 0x0C, 0x0D, 0x0F, 0x13
_BOARD, _CARD, _CHIP_SET, _SLOT, _LAN = 0x15, 0x17, 0x19, 0x21, 0x27


class BmcState(NamedTuple):
    """One state of one sensor, as sensors assert and the event log records it."""

    sensor_type: int
    event_type: int
    offset: int


HEARTBEAT_LOST, HEARTBEAT = BmcState(_LAN, SPECIFIC, 0), BmcState(_LAN, SPECIFIC, 1)
"""A network port's link. Losing it counts only where there was one: most ports are unused."""


class Meaning(NamedTuple):
    severity: int
    text: str
    advice: str


KINDS: dict[int, str] = {
    _PROCESSOR: "processor",
    _MEMORY: "memory",
    _DRIVE: "drive",
    _FIRMWARE: "board",
    _BUS: "bus",
    _BOARD: "board",
    _CARD: "bus",
    _CHIP_SET: "board",
    _SLOT: "bus",
    _LAN: "network",
}
"""The sensor types that are judged, by the rules that judge them."""

TYPES: dict[str, int] = {
    "Processor": _PROCESSOR,
    "Memory": _MEMORY,
    "Drive Bay": _DRIVE,
    "System Firmware": _FIRMWARE,
    "Critical interrupt": _BUS,
    "Module/Board": _BOARD,
    "Add-in Card": _CARD,
    "Chip Set": _CHIP_SET,
    "Slot/Connector": _SLOT,
    "LAN": _LAN,
}
"""The same types by the names that the BMC drivers give them."""

_ADVICE = {
    _PROCESSOR: "check the processor's cooling and seat, or replace it",
    _MEMORY: "reseat or replace the memory module",
    _DRIVE: "replace the drive",
    _FIRMWARE: "read the firmware's messages on the console at the next start",
    _BUS: "reseat the cards, and look for the device in the kernel's log",
    _BOARD: "replace the board or module",
    _CARD: "reseat or replace the card",
    _CHIP_SET: "check the cooling, or replace the board",
    _SLOT: "reseat what is in the slot",
    _LAN: "check the cable and the switch's port",
}

_STATES: tuple[tuple[int, int, int, str], ...] = (
    (_PROCESSOR, 0x0, DRAIN, "internal error (IERR)"),
    (_PROCESSOR, 0x1, DRAIN, "switched off by heat"),
    (_PROCESSOR, 0x2, DRAIN, "self-test failed"),
    (_PROCESSOR, 0x3, WATCH, "hung during the firmware's start"),
    (_PROCESSOR, 0x4, DRAIN, "did not start"),
    (_PROCESSOR, 0x5, WATCH, "configuration error"),
    (_PROCESSOR, 0x6, DRAIN, "uncorrectable error"),
    (_PROCESSOR, 0x8, WATCH, "disabled"),
    (_PROCESSOR, 0xA, WATCH, "throttled"),
    (_PROCESSOR, 0xB, DRAIN, "uncorrectable machine check"),
    (_PROCESSOR, 0xC, WATCH, "corrected machine check"),
    (_MEMORY, 0x0, WATCH, "corrected error"),
    (_MEMORY, 0x1, DRAIN, "uncorrectable error"),
    (_MEMORY, 0x2, DRAIN, "parity error"),
    (_MEMORY, 0x3, DRAIN, "scrubbing failed, a bit is stuck"),
    (_MEMORY, 0x4, WATCH, "disabled"),
    (_MEMORY, 0x5, WATCH, "too many corrected errors to log"),
    (_MEMORY, 0x7, WATCH, "configuration error"),
    (_MEMORY, 0x9, WATCH, "throttled"),
    (_MEMORY, 0xA, DRAIN, "critically hot"),
    (_DRIVE, 0x1, DRAIN, "drive fault"),
    (_DRIVE, 0x2, WATCH, "predicts its failure"),
    (_DRIVE, 0x5, WATCH, "in a critical array"),
    (_DRIVE, 0x6, DRAIN, "in a failed array"),
    (_DRIVE, 0x8, WATCH, "rebuild aborted"),
    (_FIRMWARE, 0x0, WATCH, "error during the firmware's start"),
    (_FIRMWARE, 0x1, WATCH, "the firmware hung"),
    # Left out: 0x0, a button, and 0x3, which any kernel can raise.
    (_BUS, 0x1, WATCH, "bus timeout"),
    (_BUS, 0x2, WATCH, "I/O channel check"),
    (_BUS, 0x4, WATCH, "PCI parity error (PERR)"),
    (_BUS, 0x5, DRAIN, "PCI system error (SERR)"),
    (_BUS, 0x7, WATCH, "corrected bus error"),
    (_BUS, 0x8, DRAIN, "uncorrectable bus error"),
    (_BUS, 0x9, DRAIN, "fatal interrupt (NMI)"),
    (_BUS, 0xA, DRAIN, "fatal bus error"),
    (_BUS, 0xB, WATCH, "bus degraded"),
    (_CHIP_SET, 0x1, DRAIN, "switched off by heat"),
    (_SLOT, 0x0, WATCH, "fault"),
    (_LAN, 0x0, WATCH, "link lost"),
)
_SEVERITIES = (
    (0x1, WATCH, "non-critical"),
    (0x2, DRAIN, "critical"),
    (0x3, DRAIN, "non-recoverable"),
    (0x4, WATCH, "non-critical"),
    (0x5, DRAIN, "critical"),
    (0x6, DRAIN, "non-recoverable"),
)
_WITH_SEVERITIES = (_PROCESSOR, _MEMORY, _DRIVE, _BUS, _BOARD, _CARD, _SLOT)

MEANINGS: dict[BmcState, Meaning] = {
    **{
        BmcState(of, SPECIFIC, offset): Meaning(severity, text, _ADVICE[of])
        for of, offset, severity, text in _STATES
    },
    **{
        BmcState(of, _SEVERITY, offset): Meaning(severity, text, _ADVICE[of])
        for of in _WITH_SEVERITIES
        for offset, severity, text in _SEVERITIES
    },
    **{
        BmcState(of, _PREDICTIVE, 0x1): Meaning(WATCH, "predicts its failure", _ADVICE[of])
        for of in _WITH_SEVERITIES
    },
}

LASTING = frozenset({_DRIVE, _SLOT, _LAN})
"""States of these end when the log says so. An error of the others has happened for good."""

UNLOGGED = frozenset({_LAN})
"""Every reboot takes links down and logs it: only their sensors are judged."""


def worst(states: Iterable[BmcState]) -> Meaning | None:
    """Return the worst of the states that mean something."""
    found = [MEANINGS[state] for state in states if state in MEANINGS]
    return max(found, key=lambda meaning: meaning.severity, default=None)
