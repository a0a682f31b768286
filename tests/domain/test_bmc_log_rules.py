"""A BMC's event log and states: what is evidence, how bad it is, and how long it counts."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from health_reports import at, judge, rules
from test_sensor_rules import sample, sensor

from provisioner.domain.health import HealthAction, HealthLevel
from provisioner.domain.health.bmc_log import MOST, WATCHED, logged
from provisioner.domain.health.bmc_states import KINDS, MEANINGS, TYPES, BmcState
from provisioner.domain.health.rules import BY_NAME
from provisioner.domain.health.sensors import kept

UNCORRECTABLE, CORRECTED = BmcState(0x0C, 0x6F, 1), BmcState(0x0C, 0x6F, 0)
BEGAN = at(0)
DRIVE_FAULT, LINK_LOST = BmcState(0x0D, 0x6F, 1), BmcState(0x27, 0x6F, 0)


def entry(
    state: BmcState | None,
    source: str = "DIMM A1",
    *,
    asserted: bool = True,
    when: datetime | None = BEGAN,
) -> dict[str, Any]:
    return {"state": state, "source": source, "asserted": asserted, "at": when}


def verdict_of(*entries: dict[str, Any]) -> Any:
    healthy = kept([sensor(("Fan 1", "Fan"), "ok")], ())
    return judge(sample(0, [*healthy, *logged(entries, (), at(0))]))


@pytest.mark.parametrize(
    ("state", "rule"),
    [
        (UNCORRECTABLE, "memory_critical"),
        (CORRECTED, "memory_warning"),
        (DRIVE_FAULT, "drive_critical"),
        (BmcState(0x0D, 0x6F, 2), "drive_warning"),
        (BmcState(0x07, 0x6F, 0), "processor_critical"),
        (BmcState(0x13, 0x6F, 5), "bus_critical"),
        (BmcState(0x13, 0x6F, 7), "bus_warning"),
        (BmcState(0x0C, 0x07, 2), "memory_critical"),
        (BmcState(0x17, 0x04, 1), "bus_warning"),
    ],
)
def test_a_new_entry_is_judged_at_once_by_the_standards_table(state: BmcState, rule: str) -> None:
    judged = verdict_of(entry(state))
    assert rules(judged) == [rule]
    drains = rule.endswith("critical")
    assert judged.level is (HealthLevel.DEGRADED if drains else HealthLevel.WATCH)
    assert judged.action is (HealthAction.DRAIN_AT_LEASE_END if drains else HealthAction.NONE)


@pytest.mark.parametrize(
    "state",
    [
        None,
        BmcState(0x0C, 0x6F, 6),  # memory present
        BmcState(0x13, 0x6F, 0),  # a button
        BmcState(0x13, 0x6F, 3),  # any kernel's own
        BmcState(0x08, 0x6F, 3),  # supplies are judged by their sensors
        BmcState(0x01, 0x01, 9),  # thresholds too
        LINK_LOST,
    ],
)
def test_what_has_harmless_causes_is_no_evidence(state: BmcState | None) -> None:
    assert verdict_of(entry(state)).level is HealthLevel.OK


def test_a_finding_says_when_how_often_and_what_to_do() -> None:
    (finding,) = verdict_of(entry(UNCORRECTABLE), entry(UNCORRECTABLE)).findings
    assert finding.summary == (
        "DIMM A1, uncorrectable error (event log): 2030-01-01 00:00 UTC, 2 times;"
        " reseat or replace the memory module"
    )


def test_states_of_one_part_are_findings_of_their_own() -> None:
    judged = verdict_of(entry(UNCORRECTABLE), entry(CORRECTED), entry(CORRECTED, "DIMM B2"))
    assert rules(judged) == ["memory_critical", "memory_warning", "memory_warning"]


def test_an_entry_is_judged_once() -> None:
    before = logged([entry(CORRECTED)], (), at(0))
    assert logged([], before, at(60)) == before


def test_what_drains_stays_and_what_is_worth_a_look_stays_for_a_day() -> None:
    before = logged([entry(UNCORRECTABLE), entry(CORRECTED)], (), at(0))
    later = at(WATCHED.total_seconds())
    assert [each["severity"] for each in logged([], before, later - timedelta(seconds=1))] == [2, 1]
    assert [each["severity"] for each in logged([], before, later)] == [2]


def test_a_drive_that_recovers_is_well_and_an_error_in_memory_has_happened() -> None:
    ended = [entry(DRIVE_FAULT, "Drive 0", asserted=False), entry(UNCORRECTABLE, asserted=False)]
    left = logged(
        ended, logged([entry(DRIVE_FAULT, "Drive 0"), entry(UNCORRECTABLE)], (), at(0)), at(9)
    )
    assert [each["name"] for each in left] == ["DIMM A1, uncorrectable error (event log)"]


def test_at_the_end_of_a_log_only_what_is_newer_counts() -> None:
    entries = [entry(UNCORRECTABLE, when=at(-1)), entry(UNCORRECTABLE, when=None)]
    assert logged(entries, (), at(0), since=at(0)) == []
    assert len(logged([entry(UNCORRECTABLE)], (), at(0), since=at(0))) == 1


def test_what_is_kept_is_bounded_and_the_worst_stays() -> None:
    flood = [entry(CORRECTED, f"DIMM {number}") for number in range(3 * MOST)]
    left = logged([entry(UNCORRECTABLE), *flood], (), at(0))
    assert len(left) == MOST
    assert left[0]["severity"] == 2


def states(of: tuple[str, str], *conditions: BmcState, health: str = "ok") -> dict[str, Any]:
    return {**sensor(of, health), "conditions": conditions}


DIMM, PORT = ("DIMM A1", "Memory"), ("LAN 1", "LAN")


def twice(first: dict[str, Any], second: dict[str, Any] | None = None) -> Any:
    return judge(sample(0, kept([second or first], kept([first], ()))))


def test_a_sensor_with_states_is_judged_by_the_table_whatever_the_driver_says() -> None:
    assert rules(twice(states(DIMM, UNCORRECTABLE))) == ["memory_critical"]
    button = states(("NMI", "Critical interrupt"), BmcState(0x13, 0x6F, 0), health="critical")
    assert twice(button).level is HealthLevel.OK


def test_one_odd_reading_of_a_state_is_nothing() -> None:
    assert twice(states(DIMM), states(DIMM, UNCORRECTABLE)).level is HealthLevel.OK


def test_a_vendors_own_sensor_without_states_is_worth_a_look_at_most() -> None:
    judged = twice(sensor(DIMM, "failed"))
    assert (rules(judged), judged.action) == (["memory_warning"], HealthAction.NONE)


def test_a_port_that_never_had_a_link_is_no_finding_and_one_that_lost_it_is_watched() -> None:
    up, down = states(PORT, BmcState(0x27, 0x6F, 1)), states(PORT, LINK_LOST)
    assert twice(down).level is HealthLevel.OK
    readings: list[dict[str, Any]] = []
    for reading in (up, down, sensor(PORT, "unavailable"), down):
        readings = kept([reading], readings)
    assert judge(sample(0, readings)).level is HealthLevel.OK  # one reading since it was silent
    readings = kept([down], readings)
    judged = judge(sample(0, readings))
    assert (rules(judged), judged.level) == (["network_warning"], HealthLevel.WATCH)


def test_every_state_of_the_table_has_a_type_a_kind_and_a_rule() -> None:
    assert set(KINDS) == set(TYPES.values())
    for state, meaning in MEANINGS.items():
        grade = "critical" if meaning.severity == 2 else "warning"
        assert f"{KINDS[state.sensor_type]}_{grade}" in BY_NAME
        assert meaning.advice
