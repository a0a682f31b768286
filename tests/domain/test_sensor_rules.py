"""A BMC's sensors: what two readings agree on is judged, and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from health_reports import at, health, judge, rules

from provisioner.domain.health import HealthAction, HealthLevel, Sample
from provisioner.domain.health.sensors import kept

PSU = ("PSU 2", "Power Supply")
FAN = ("Fan 1", "Fan")
INLET = ("Inlet Temp", "Temperature")


def sensor(
    of: tuple[str, str], grade: str, value: float | None = None, unit: str = "", *states: str
) -> dict[str, Any]:
    """Return a sensor as the driver reports it."""
    name, kind = of
    return {
        "name": name,
        "kind": kind,
        "value": value,
        "unit": unit,
        "health": grade,
        "states": states,
    }


def readings(of: tuple[str, str], *grades: str) -> list[dict[str, Any]]:
    """Return what is kept after readings of one sensor."""
    before: list[dict[str, Any]] = []
    for grade in grades:
        before = kept([sensor(of, grade)], before)
    return before


def sample(
    second: float,
    sensors: Sequence[Mapping[str, Any]],
    *,
    boot: str = "b1",
    said: Sequence[Mapping[str, Any]] = (),
) -> Sample:
    """`sensors` as kept; `said` is what the agent claims they are."""
    told = health(sensors=said)
    stored = {"boot_id": boot, "context": "tenant", "uptime_s": second, "health": told}
    return Sample.of(stored, at(second), sensors)


@pytest.mark.parametrize("of", [PSU, FAN, INLET])
@pytest.mark.parametrize(
    ("grades", "grade", "level", "action"),
    [
        (("warning", "warning"), "warning", HealthLevel.WATCH, HealthAction.NONE),
        (
            ("critical", "critical"),
            "critical",
            HealthLevel.DEGRADED,
            HealthAction.DRAIN_AT_LEASE_END,
        ),
        (("failed", "failed"), "critical", HealthLevel.DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
        (("failed", "critical"), "critical", HealthLevel.DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
        (("failed", "warning"), "warning", HealthLevel.WATCH, HealthAction.NONE),
    ],
)
def test_two_bad_readings_are_a_finding_by_the_milder_one(
    of: tuple[str, str],
    grades: tuple[str, ...],
    grade: str,
    level: HealthLevel,
    action: HealthAction,
) -> None:
    judged = judge(sample(0, readings(of, *grades)))
    kind = {PSU: "power", FAN: "fan", INLET: "temperature"}[of]
    assert rules(judged) == [f"{kind}_{grade}"]
    assert (judged.level, judged.action) == (level, action)
    assert judged.summary.startswith(of[0])


@pytest.mark.parametrize(
    "grades",
    [("failed",), ("ok", "failed"), ("failed", "ok"), ("unavailable", "unavailable"), ("ok", "ok")],
)
def test_one_odd_reading_is_nothing(grades: tuple[str, ...]) -> None:
    assert judge(sample(0, readings(PSU, *grades))).level is HealthLevel.OK


def test_voltages_and_the_like_are_not_judged() -> None:
    assert readings(("12V", "Voltage"), "failed", "failed") == []


def test_a_finding_says_what_was_read() -> None:
    still = sensor(FAN, "critical", 0.0, "RPM", "lower critical threshold")
    unplugged = sensor(PSU, "critical", None, "", "Power input lost")
    before = kept([still, unplugged], ())
    judged = judge(sample(0, kept([still, unplugged], before)))
    assert {f.summary for f in judged.findings} == {
        "Fan 1: critical (0 RPM, lower critical threshold)",
        "PSU 2: critical (Power input lost)",
    }


def test_sensors_of_one_name_are_told_apart() -> None:
    cool, hot = sensor(INLET, "ok"), sensor(INLET, "critical")
    judged = judge(sample(0, kept([cool, hot], kept([cool, hot], ()))))
    assert [f.part for f in judged.findings] == ["sensor-Inlet Temp #2"]


def test_a_finding_stays_until_the_sensor_is_read_and_good() -> None:
    bad = readings(PSU, "critical", "critical")
    unread: Sequence[Mapping[str, Any]] = ()
    first_of_new = readings(PSU, "critical")
    unavailable = readings(PSU, "critical", "unavailable")
    told = [bad, unread, first_of_new, unavailable, unread]
    samples = [sample(1000 * i, said, boot=f"b{i}") for i, said in enumerate(told)]
    assert rules(judge(*samples)) == ["power_critical"]
    good = sample(9000, readings(PSU, "critical", "ok"), boot="b9")
    assert judge(*samples, good).level is HealthLevel.OK


def test_a_good_reading_ends_a_finding_only_after_ten_minutes() -> None:
    bad, good = readings(FAN, "critical", "critical"), readings(FAN, "critical", "ok")
    assert rules(judge(sample(0, bad), sample(599, good))) == ["fan_critical"]
    assert judge(sample(0, bad), sample(600, good)).level is HealthLevel.OK


def test_what_an_agent_says_of_sensors_is_not_believed() -> None:
    lie = readings(PSU, "failed", "failed")
    assert judge(sample(0, (), said=lie)).level is HealthLevel.OK
    bad = readings(FAN, "failed", "failed")
    assert rules(judge(sample(0, bad, said=readings(FAN, "ok")))) == ["fan_critical"]
