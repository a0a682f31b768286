"""A BMC's sensors: what is stored of a reading, and the rules for it and for the event log.

The sensor poll decides when they are read.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from provisioner.domain.health.bmc_states import (
    DRAIN,
    HEARTBEAT,
    HEARTBEAT_LOST,
    KINDS,
    TYPES,
    BmcState,
    worst,
)
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
"""The IPMI sensor types that are judged by the health that the BMC gives them."""


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

    The severity (such as `power_severity` or `memory_severity`) is what this reading and the one
    before agree on. It is absent while that is unknown: at the first bad reading, and
    while a sensor is unavailable or its state unknown.
    """
    earlier = {sensor["name"]: sensor for sensor in before}
    found: dict[str, dict[str, Any]] = {}
    for sensor in sensors:
        name = _unused(sensor["name"], found)
        last = earlier.get(name, {})
        if sensor["kind"] in _KINDS:
            kind, judged = _KINDS[sensor["kind"]], _judged(sensor)
        elif sensor["kind"] in TYPES:
            kind, judged = KINDS[TYPES[sensor["kind"]]], _judged_by_states(sensor, last)
        else:
            continue
        found[name] = {"name": name, **judged}
        severity = _SEVERITY.get(judged["health"])
        if severity is not None:
            agreed = min(severity, _SEVERITY.get(last.get("health", ""), 0))
            if agreed or not severity:
                found[name][f"{kind}_severity"] = agreed
    return list(found.values())


def _judged(sensor: Mapping[str, Any]) -> dict[str, Any]:
    return {"health": str(sensor["health"]), "summary": _says(sensor)}


def _judged_by_states(sensor: Mapping[str, Any], last: Mapping[str, Any]) -> dict[str, Any]:
    """Judge by the table, whatever the BMC or its driver makes of the states.

    A sensor without states, as vendors' own are, is worth a look at most. `linked` keeps in mind
    that a port had a link once.
    """
    states = {BmcState(*state) for state in sensor.get("conditions", ())}
    linked = {"linked": True} if HEARTBEAT in states or last.get("linked") else {}
    if sensor["health"] is SensorHealth.UNAVAILABLE:
        return _judged(sensor) | linked
    if not states and _SEVERITY.get(sensor["health"], 0):
        return {"health": str(SensorHealth.WARNING), "summary": _says(sensor), **linked}
    if not linked:
        states.discard(HEARTBEAT_LOST)
    meaning = worst(states)
    if meaning is None:
        return {"health": str(SensorHealth.OK), "summary": _says(sensor), **linked}
    health = SensorHealth.CRITICAL if meaning.severity >= DRAIN else SensorHealth.WARNING
    return {"health": str(health), "summary": f"{meaning.text}; {meaning.advice}", **linked}


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
    for kind in ("power", "fan", "temperature", *sorted(set(KINDS.values())))
    for grade in (
        # A sensor alone is not enough to call a working server faulty.
        ("critical", Compare.AT_LEAST, 2, Outcome.DRAIN),
        ("warning", Compare.IS, 1, Outcome.NOTE),
    )
)
