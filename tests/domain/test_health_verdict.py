"""Verdicts over time: what holds, what clears, what comes back; and over many servers."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from health_reports import START, UUID, at, health, judge, report, rules, xid
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.health import (
    HEALTHY,
    HealthAction,
    HealthLevel,
    Sample,
    Verdict,
    breaker_trips,
    lemon_score,
    remember,
    verdict,
)
from provisioner.domain.health.history import GRAIN
from provisioner.domain.health.rules import LONGEST_WINDOW

HOT = {"power_limit_w": 300.0, "power_default_w": 700.0}
numbers = st.one_of(st.integers(-10, 20_000), st.floats(-10, 20_000), st.booleans())
gpu_values = st.dictionaries(
    st.sampled_from(
        [
            "lost",
            "recovery_action",
            "ecc_volatile_uncorrected_dram",
            "remap_pending",
            "hw_slowdown_s",
            "temperature_margin_c",
            "pcie_replays",
            "nvlinks_down",
            "nvlink_crc",
            "fabric_state",
            "errors",
        ]
    ),
    st.one_of(numbers, st.none(), st.lists(st.integers(0, 40), max_size=18), st.text(max_size=3)),
)


@given(st.lists(gpu_values, min_size=1, max_size=40), st.integers(1, 90))
def test_any_values_give_a_verdict_that_survives_storing(
    reports: list[dict[str, Any]], every: int
) -> None:
    history: tuple[Sample, ...] = ()
    judged = HEALTHY
    for step, values in enumerate(reports):
        history = remember(history, report(step * every, health(values)))
        judged = verdict(history, now=history[-1].at, gpus_expected=1, previous=judged)
        assert len(history) <= LONGEST_WINDOW / GRAIN + 3
    levels = [finding.level.rank for finding in judged.findings]
    assert levels == sorted(levels, reverse=True)
    assert judged.level.rank == max([0, *levels])
    assert judged.action.rank == max([0, *(f.action.rank for f in judged.findings)])
    assert Verdict.from_dict(json.loads(json.dumps(judged.to_dict()))) == judged


@given(st.lists(gpu_values, min_size=1, max_size=20))
def test_the_same_reports_give_the_same_verdict(reports: list[dict[str, Any]]) -> None:
    samples = [report(10 * step, health(values)) for step, values in enumerate(reports)]
    assert judge(*samples) == judge(*samples)


def test_a_finding_stays_ten_minutes_after_it_was_last_true() -> None:
    found = judge(report(0, health(HOT)))
    usual = health({**HOT, "power_limit_w": 700.0})
    after = judge(report(599, usual), previous=found)
    assert rules(after) == ["power_limit_lowered"]
    assert (after.findings[0].since, after.findings[0].seen) == (START, START)
    assert judge(report(600, usual), previous=after).level is HealthLevel.OK


def test_a_finding_remembers_since_when_it_is_true() -> None:
    found = judge(report(0, health(HOT)))
    again = judge(report(500, health(HOT)), previous=found)
    assert (again.findings[0].since, again.findings[0].seen) == (START, at(500))


def test_a_lost_gpu_stays_lost_until_the_next_boot() -> None:
    lost = judge(report(0, health({"lost": True})))
    back = health({"lost": False})
    later = judge(report(86_400, back), previous=lost)
    assert later.level is HealthLevel.FAULTY
    assert judge(report(87_000, back, boot="b2"), previous=later).level is HealthLevel.OK


def test_a_resetting_xid_counts_until_the_next_boot_even_when_the_agent_forgot_it() -> None:
    found = judge(report(0, health(events=[xid(95)])))
    assert found.summary == (
        "GPU 0: XID 95, uncontained memory error: every job on the GPU is hit (reset GPU)"
    )
    later = judge(report(7200, health()), previous=found)
    assert rules(later) == ["xid_95"]
    assert judge(report(7300, health(), boot="b2"), previous=later).findings == ()


def test_a_boot_repairs_what_a_reset_repairs() -> None:
    found = judge(report(0, health({"remap_pending": True})))
    ramdisk = report(60, health(state="absent", gpus=[]), boot="b2", context="ramdisk")
    assert judge(ramdisk, previous=found).level is HealthLevel.OK


def test_the_ramdisk_cannot_clear_what_only_a_driver_can_tell() -> None:
    found = judge(report(0, health({"remap_failure": True}), boot="b1"))
    absent = health(state="absent", gpus=[])
    for second in range(0, 7200, 600):
        found = judge(report(second, absent, boot="b2", context="ramdisk"), previous=found)
        assert (rules(found), found.action) == (["remap_failure"], HealthAction.RMA)
    replaced = health({"uuid": "GPU-new", "remap_failure": False})
    assert judge(report(8000, replaced, boot="b3"), previous=found).level is HealthLevel.OK


def test_a_hung_driver_hides_no_finding() -> None:
    found = judge(
        report(0, health({"nvlink_crc": [0]})), report(60, health({"nvlink_crc": [9000]}))
    )
    hung = judge(report(7200, health(state="hung", gpus=[])), previous=found)
    assert rules(hung) == ["driver_hung", "nvlink_crc"]


def test_a_jobs_own_xid_is_shown_for_an_hour() -> None:
    def shown(second: float) -> list[str]:
        return rules(judge(report(second, health(events=[xid(31)]))))

    assert shown(3600) == ["xid_31"]
    assert shown(3601) == []


def test_an_xid_of_a_gpu_that_is_gone_is_still_told() -> None:
    judged = judge(report(0, health(events=[xid(79, pci="0000:ff:00.0")])))
    assert "the GPU at 0000:ff:00.0" in judged.summary


def past_findings(boots: list[str], number: int, days_ago: float = 1) -> list[Any]:
    found = [
        judge(report(0, health(events=[xid(number)]), boot=boot)).findings[0] for boot in boots
    ]
    return [replace(f, seen=START - timedelta(days=days_ago)) for f in found]


def test_an_xid_that_survives_two_reboots_is_the_hardwares() -> None:
    third = report(0, health(events=[xid(119)]), boot="b3")
    assert judge(third, past=past_findings(["b1"], 119)).action is HealthAction.RESET_AT_LEASE_END
    again = judge(third, past=past_findings(["b1", "b2"], 119))
    assert (again.level, again.action) == (HealthLevel.FAULTY, HealthAction.RMA)
    assert again.summary.endswith("again after 2 reboots")


def test_other_gpus_other_xids_and_last_weeks_do_not_count() -> None:
    third = report(0, health(events=[xid(119)]), boot="b3")
    before = past_findings(["b1", "b2"], 119)
    others = [
        past_findings(["b1", "b2"], 120),
        past_findings(["b1", "b2"], 119, days_ago=8),
        [replace(finding, part="GPU-9") for finding in before],
        past_findings(["b3", "b3"], 119),
    ]
    for past in others:
        assert judge(third, past=past).action is HealthAction.RESET_AT_LEASE_END


@given(st.lists(st.sampled_from([13, 31, 94]), max_size=5))
def test_the_jobs_own_xids_never_escalate(before: list[int]) -> None:
    past = [f for i, number in enumerate(before) for f in past_findings([f"b{i}"], number)]
    judged = judge(report(0, health(events=[xid(94)]), boot="now"), past=past)
    assert judged.action is HealthAction.NONE


def test_counters_that_began_anew_are_no_growth_of_what_they_had() -> None:
    said = [health({"pcie_replays": count}) for count in (4_000_000, 0, 3)]
    samples = [report(60 * step, values) for step, values in enumerate(said)]
    assert judge(*samples).level is HealthLevel.OK


def test_counters_of_an_earlier_boot_are_not_compared() -> None:
    first = report(0, health({"pcie_replays": 0}), boot="b1")
    second = report(60, health({"pcie_replays": 4000}), boot="b2")
    assert judge(first, second).level is HealthLevel.OK


def test_without_a_report_nothing_changes() -> None:
    found = judge(report(0, health(HOT)))
    assert verdict((), now=at(1e6), previous=found) == found


def test_an_agent_that_does_not_look_is_no_fault() -> None:
    stored = {"boot_id": "b", "context": "tenant", "uptime_s": 1.0, "health": None}
    assert judge(Sample.of(stored, START), gpus_expected=8).level is HealthLevel.OK


def test_findings_name_the_gpu_for_ever() -> None:
    [finding] = judge(report(0, health(HOT))).findings
    assert finding.part == UUID


@given(st.lists(st.floats(-600, 0), max_size=50), st.integers(1, 100))
def test_the_breaker_trips_by_count_in_five_minutes(ages: list[float], servers: int) -> None:
    times = [at(age) for age in ages]
    recent = sum(age > -300 for age in ages)
    assert breaker_trips(times, servers, START) == (recent >= max(3, servers * 0.1))


def test_the_breaker_lets_single_servers_fail() -> None:
    assert not breaker_trips([START, START], 4, START)
    assert breaker_trips([START] * 3, 4, START)
    assert not breaker_trips([START] * 99, 1000, START)
    assert breaker_trips([START] * 100, 1000, START)


incidents = st.tuples(st.floats(0, 60), st.sampled_from(list(HealthLevel))).map(
    lambda pair: (START - timedelta(days=pair[0]), pair[1])
)


@given(st.lists(incidents, max_size=10), incidents)
def test_an_incident_never_lowers_the_lemon_score(before: Any, one: Any) -> None:
    assert lemon_score([*before, one], START) >= lemon_score(before, START)


@given(st.lists(incidents, max_size=10), st.floats(0, 60))
def test_time_heals_a_lemon(before: Any, days: float) -> None:
    later = START + timedelta(days=days)
    assert lemon_score(before, later) <= lemon_score(before, START)
    assert lemon_score(before, START + timedelta(days=30)) == 0
