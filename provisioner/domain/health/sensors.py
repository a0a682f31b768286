"""A BMC's sensors: what is stored of a reading, and rules for power supplies, fans and heat.

The sensor poll decides when they are read.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from provisioner.domain.health.levels import Outcome
from provisioner.domain.health.rule import IPMI, Compare, Rule, Scope

FRESH = timedelta(minutes=15)
"""An older reading is evidence of neither a fault nor health."""

_KINDS = {
    "Power Supply": "power",
    "Power Unit": "power",
    "Fan": "fan",
    "Cooling Device": "fan",
    "Temperature": "temperature",
}
"""The IPMI sensor types that are judged."""


class SensorHealth(StrEnum):
    """The health of a sensor's part, as its BMC reports it."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"
    """There is no reading: the part is absent or off, or the sensor does not answer."""
    UNKNOWN = "unknown"
    """The BMC reports a state that has no word here."""


_SEVERITY = {
    SensorHealth.OK: 0,
    SensorHealth.WARNING: 1,
    SensorHealth.CRITICAL: 2,
    SensorHealth.FAILED: 3,
}
"""The others are not evidence of anything."""


def kept(
    sensors: Iterable[Mapping[str, Any]], before: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the judged sensors of a driver's reading, each with a severity.

    The severity (`power_severity`, `fan_severity` or `temperature_severity`) is what this reading
    and the one before agree on. It is absent while that is unknown: at the first bad reading, and
    while a sensor is unavailable or its state unknown.
    """
    earlier = {sensor["name"]: _SEVERITY.get(sensor["health"], 0) for sensor in before}
    found: dict[str, dict[str, Any]] = {}
    for sensor in sensors:
        if sensor["kind"] not in _KINDS:
            continue
        name = _unused(sensor["name"], found)
        found[name] = {
            "name": name,
            "health": str(sensor["health"]),
            "summary": _says(sensor),
        }
        severity = _SEVERITY.get(sensor["health"])
        if severity is not None:
            agreed = min(severity, earlier.get(name, 0))
            if agreed or not severity:
                found[name][f"{_KINDS[sensor['kind']]}_severity"] = agreed
    return list(found.values())


def _unused(name: str, taken: Mapping[str, object]) -> str:
    """Number sensors that share a name, as on some BMCs; they keep their order."""
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name} #{number}"
    return unique


def _says(sensor: Mapping[str, Any]) -> str:
    """Describe a reading, such as `critical (0 RPM, lower critical threshold)`."""
    value = sensor["value"]
    number = [] if value is None else [f"{value:g} {sensor['unit']}".rstrip()]
    details = ", ".join([*number, *sensor["states"]])
    return f"{sensor['health']} ({details})" if details else str(sensor["health"])


def _sensor(kind: str, grade: str, compare: Compare, severity: int, outcome: Outcome) -> Rule:
    return Rule(
        f"{kind}_{grade}",
        Scope.SENSOR,
        f"{kind}_severity",
        compare,
        severity,
        outcome,
        "{part}: {summary}",
        IPMI,
    )


SENSORS: tuple[Rule, ...] = tuple(
    _sensor(kind, *grade)
    for kind in ("power", "fan", "temperature")
    for grade in (
        # A sensor alone is not enough to call a working server faulty.
        ("critical", Compare.AT_LEAST, 2, Outcome.DRAIN),
        ("warning", Compare.IS, 1, Outcome.NOTE),
    )
)
