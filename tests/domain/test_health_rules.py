"""The table of health rules: each fires at its threshold, after its window, and not before."""

from typing import Any

import pytest
from health_reports import health, judge, report, rules, xid
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.health import HealthAction, HealthLevel, Outcome
from provisioner.domain.health.rule import Compare, Measure, Rule, Scope
from provisioner.domain.health.rules import BY_NAME, RULES
from provisioner.domain.health.xids import XIDS, Response
from provisioner.domain.health.xids import xid as entry

Case = tuple[dict[str, object], HealthLevel, HealthAction]
WATCH, DEGRADED, FAULTY = HealthLevel.WATCH, HealthLevel.DEGRADED, HealthLevel.FAULTY

# Found at once, from one report of one GPU: values and what they mean.
AT_ONCE: dict[str, Case] = {
    "gpu_lost": ({"lost": True}, FAULTY, HealthAction.QUARANTINE),
    "recovery_reset": ({"recovery_action": 1}, FAULTY, HealthAction.RESET_AT_LEASE_END),
    "recovery_reboot": ({"recovery_action": 2}, FAULTY, HealthAction.REBOOT),
    "recovery_drain": ({"recovery_action": 3}, DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
    "recovery_drain_and_reset": ({"recovery_action": 4}, DEGRADED, HealthAction.RESET_AT_LEASE_END),
    "recovery_imex": ({"recovery_action": 5}, FAULTY, HealthAction.REBOOT),
    "recovery_bus_reset": ({"recovery_action": 6}, FAULTY, HealthAction.REBOOT),
    "recovery_system": ({"recovery_action": 7}, FAULTY, HealthAction.REBOOT),
    "dram_uncorrectable": (
        {"ecc_volatile_uncorrected_dram": 1},
        DEGRADED,
        HealthAction.RESET_AT_LEASE_END,
    ),
    "sram_uncorrectable": (
        {"ecc_volatile_uncorrected_sram": 1},
        DEGRADED,
        HealthAction.DRAIN_AT_LEASE_END,
    ),
    "sram_threshold": ({"sram_threshold_exceeded": True}, FAULTY, HealthAction.RMA),
    "sram_errors_before": ({"ecc_aggregate_uncorrected_sram": 1}, WATCH, HealthAction.NONE),
    "sram_correctable": (
        {"ecc_volatile_corrected_sram": 10_001},
        DEGRADED,
        HealthAction.DRAIN_AT_LEASE_END,
    ),
    "remap_failure": ({"remap_failure": True}, FAULTY, HealthAction.RMA),
    "remap_pending": ({"remap_pending": True}, DEGRADED, HealthAction.RESET_AT_LEASE_END),
    "remap_many": ({"remap_uncorrected": 513}, FAULTY, HealthAction.RMA),
    "remap_banks_low": ({"remap_banks_low": 1}, WATCH, HealthAction.NONE),
    "remap_banks_none": ({"remap_banks_none": 1}, WATCH, HealthAction.NONE),
    "pages_pending": ({"retired_pending": True}, DEGRADED, HealthAction.RESET_AT_LEASE_END),
    "pages_many": ({"retired_pages": 60}, FAULTY, HealthAction.RMA),
    "ecc_off": ({"ecc_enabled": False}, WATCH, HealthAction.RESET_AT_LEASE_END),
    "inforom": ({"inforom_valid": False}, DEGRADED, HealthAction.RESET_AT_LEASE_END),
    "power_unreadable": ({"power_unreadable": True}, FAULTY, HealthAction.REBOOT),
    "power_limit_lowered": (
        {"power_limit_w": 400.0, "power_default_w": 700.0},
        WATCH,
        HealthAction.RESET_AT_LEASE_END,
    ),
    "unreadable": ({"errors": ["nvmlDeviceGetName: 4"]}, WATCH, HealthAction.NONE),
    "fabric_error": ({"fabric_state": 3, "fabric_status": 999}, FAULTY, HealthAction.QUARANTINE),
    "fabric_unhealthy": ({"fabric_health_summary": 2}, DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
    "fabric_limited": ({"fabric_health_summary": 3}, DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
    "fabric_bandwidth": (
        {"fabric_bandwidth_degraded": True},
        DEGRADED,
        HealthAction.DRAIN_AT_LEASE_END,
    ),
    "fabric_route": ({"fabric_route_unhealthy": True}, DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
    "fabric_misconfigured": (
        {"fabric_misconfigured": 4},
        DEGRADED,
        HealthAction.DRAIN_AT_LEASE_END,
    ),
}

# What a healthy GPU may show.
FINE = [
    {"lost": False, "recovery_action": 0, "remap_pending": False, "ecc_enabled": True},
    {"remap_uncorrected": 512, "retired_pages": 59, "ecc_volatile_corrected_sram": 10_000},
    {"clocks_event_reasons": 0x5},
    {"fabric_state": 0, "fabric_status": 0},  # a part without a fabric
    {"fabric_state": 1, "fabric_status": 999},  # still joining
    {"fabric_health_summary": 1, "fabric_misconfigured": 1},
    {"power_limit_w": 700.0, "power_default_w": 700.0, "errors": []},
    {"nvlinks": 18, "nvlinks_down": []},
    {"pcie_width": 16, "pcie_width_max": 16},
    {},
]


@pytest.mark.parametrize("name", AT_ONCE)
def test_what_is_found_at_once(name: str) -> None:
    values, level, action = AT_ONCE[name]
    judged = judge(report(0, health(values)))
    assert rules(judged) == [name]
    assert (judged.level, judged.action) == (level, action)
    assert "{" not in judged.findings[0].summary
    assert judged.findings[0].source


@pytest.mark.parametrize("values", FINE)
def test_what_a_good_gpu_shows(values: dict[str, object]) -> None:
    judged = judge(report(0, health(values)))
    assert (judged.level, judged.findings) == (HealthLevel.OK, ())


# What has to last (values) or to grow (from, to), and after how long it is found.
LASTING: dict[str, tuple[dict[str, object], int]] = {
    "hot": ({"temperature_margin_c": 0}, 60),
    "warm": ({"temperature_margin_c": 5}, 300),
    "hot_by_limit": ({"temperature_c": 90, "temperature_limit_c": 90}, 60),
    "memory_hot": ({"memory_temperature_c": 95, "memory_limit_c": 95}, 60),
    "nvlink_down": ({"nvlinks": 18, "nvlinks_down": [3]}, 120),
    "fabric_not_joined": ({"fabric_state": 2}, 300),
    "pcie_narrow": ({"pcie_width": 8, "pcie_width_max": 16}, 60),
    "pcie_slow": (
        {"pcie_generation": 3, "pcie_generation_max": 5, "utilization_gpu": 90},
        120,
    ),
}
GROWING: dict[str, tuple[str, float]] = {
    "hw_slowdown": ("hw_slowdown_s", 60),
    "hw_thermal": ("hw_thermal_s", 60),
    "power_brake": ("power_brake_s", 60),
    "sw_thermal": ("sw_thermal_s", 60),
    "dram_correctable": ("ecc_volatile_corrected_dram", 100),
    "nvlink_crc": ("nvlink_crc", 6000),
    "nvlink_replays": ("nvlink_replays", 100),
    "nvlink_recoveries": ("nvlink_recoveries", 1),
    "pcie_replays": ("pcie_replays", 41),
}


@pytest.mark.parametrize("name", LASTING)
def test_what_has_to_last(name: str) -> None:
    values, after = LASTING[name]
    reports = [report(second, health(values)) for second in range(0, after + 10, 10)]
    assert name not in rules(judge(*reports[:-1]))
    assert name in rules(judge(*reports))
    broken = [*reports[:-2], report(after - 10, health()), reports[-1]]
    assert name not in rules(judge(*broken))


@pytest.mark.parametrize("name", GROWING)
def test_what_has_to_grow(name: str) -> None:
    signal, by = GROWING[name]
    many = BY_NAME[name].signal.startswith("nvlink")

    def counted(value: float) -> dict[str, object]:
        return health({signal: [7, value] if many else value})

    assert name not in rules(judge(report(0, counted(1000 + by))))
    assert name in rules(judge(report(0, counted(1000)), report(30, counted(1000 + by))))
    assert name not in rules(judge(report(0, counted(1000)), report(30, counted(999 + by))))


@pytest.mark.parametrize("name", GROWING)
def test_growth_over_a_longer_time_than_the_window_is_not_enough(name: str) -> None:
    signal, by = GROWING[name]
    window = BY_NAME[name].window.total_seconds()
    many = BY_NAME[name].signal.startswith("nvlink")
    reports = []
    for step in range(60):
        value = step * by / 20
        values = {signal: [value] if many else value}
        reports.append(report(step * window / 10, health(values)))
    assert name not in rules(judge(*reports))


def test_an_idle_pcie_link_may_sleep() -> None:
    values = {"pcie_generation": 1, "pcie_generation_max": 5, "utilization_gpu": 0}
    reports = [report(second, health(values)) for second in range(0, 600, 10)]
    assert judge(*reports).level is HealthLevel.OK


SERVER: dict[str, tuple[dict[str, object], Outcome]] = {
    "driver_hung": ({"state": "hung", "gpus": []}, Outcome.REBOOT),
    "health_unread": ({"state": "failed", "gpus": []}, Outcome.NOTE),
    "gpus_missing": ({"gpus": []}, Outcome.QUARANTINE),
    "gpus_missing_on_bus": ({"gpus_on_bus": 0}, Outcome.QUARANTINE),
    "driver_absent": ({"state": "absent", "gpus": []}, Outcome.NOTE),
    "hardware_hung": ({"hardware_hung": True}, Outcome.REBOOT),
    "memory_uncorrectable": ({"memory_uncorrected": 1}, Outcome.DRAIN),
    "disk_failing": (
        {"disks": [{"name": "nvme0", "state": "live", "critical_warning": 8}]},
        Outcome.QUARANTINE,
    ),
    "disk_failure_predicted": (
        {"disks": [{"name": "sda", "state": "live", "failure_predicted": True}]},
        Outcome.DRAIN,
    ),
    "disk_warning": ({"disks": [{"name": "nvme0", "critical_warning": 1}]}, Outcome.DRAIN),
    "disk_worn": ({"disks": [{"name": "nvme0", "used_percent": 100}]}, Outcome.NOTE),
}


@pytest.mark.parametrize("name", SERVER)
def test_what_is_found_of_the_server(name: str) -> None:
    values, outcome = SERVER[name]
    judged = judge(report(0, health(**values)), gpus_expected=1)
    assert rules(judged) == [name]
    assert (judged.level, judged.action) == (outcome.level, outcome.action)


def test_the_ramdisk_needs_no_driver() -> None:
    said = health(state="absent", gpus=[])
    assert judge(report(0, said, context="ramdisk"), gpus_expected=8).level is HealthLevel.OK


def test_a_disk_that_is_dead_for_two_minutes_is_found() -> None:
    said = health(disks=[{"name": "nvme0", "state": "dead"}])
    judged = judge(*(report(second, said) for second in range(0, 130, 10)))
    assert rules(judged) == ["disk_gone"]
    assert judged.summary == "disk nvme0 is dead"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("disk_media_errors", {"disks": [{"name": "a", "media_errors": 4}]}, {"media_errors": 5}),
        ("link_flaps", {"links": [{"name": "a", "down_count": 1}]}, {"down_count": 4}),
    ],
)
def test_what_has_to_grow_beside_the_gpus(
    name: str, before: dict[str, list[dict[str, object]]], after: dict[str, object]
) -> None:
    kind, [part] = next(iter(before.items()))
    grown = {kind: [{**part, **after}]}
    assert rules(judge(report(0, health(**before)), report(30, health(**grown)))) == [name]


def test_corrected_memory_errors_are_counted_by_their_growth() -> None:
    said = [health(memory_corrected=count) for count in (5000, 5100)]
    assert rules(judge(report(0, said[0]), report(30, said[1]))) == ["memory_correctable"]


def test_a_silent_agent_is_found_after_its_grace() -> None:
    from provisioner.domain.health import remember, verdict

    history = remember((), report(0, health()))
    assert verdict(history, now=report(179, {}).at).level is HealthLevel.OK
    silent = verdict(history, now=report(180, {}).at)
    assert (rules(silent), silent.level) == (["agent_silent"], HealthLevel.WATCH)


def test_every_rule_has_a_case() -> None:
    tested = {*AT_ONCE, *LASTING, *GROWING, *SERVER}
    sensors = {rule.name for rule in RULES if rule.scope is Scope.SENSOR}  # test_sensor_rules
    elsewhere = {"disk_gone", "disk_media_errors", "link_flaps", "memory_correctable"}
    assert tested | elsewhere | sensors | {"agent_silent"} == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules_are_complete(rule: Rule) -> None:
    assert BY_NAME[rule.name] is rule, "two rules of one name"
    assert rule.summary
    assert rule.source
    assert (rule.measure is Measure.NOW) == (not rule.window)
    if isinstance(rule.limit, str) and rule.compare in (Compare.IS, Compare.IS_NOT):
        assert rule.scope in (Scope.SERVER, Scope.DISK)


RESTART_APPLICATION = [
    *(8, 11, 13, 25, 31, 32, 39, 40, 41, 68, 69, 80, *range(82, 87), 88, 89, 94),
    *(*range(96, 106), *range(126, 136), 139),
]
RESET = [46, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158]
WORKFLOW = [48, 74, *range(144, 151)]
IGNORED = [
    *(38, 43, 44, 45, 63, 66, 93, 106, 107, 108, 121, 137, 141, 154, 160, 161, 171, 172),
]
INVESTIGATE = [92, 142, 157, 159]


@pytest.mark.parametrize(
    ("numbers", "outcome"),
    [
        (RESTART_APPLICATION, Outcome.FINE),
        (RESET, Outcome.RESET_FIRST),
        ([79, 151], Outcome.REBOOT),
        ([54], Outcome.QUARANTINE),
        (WORKFLOW, Outcome.DRAIN),
        (IGNORED, Outcome.FINE),
        ([*INVESTIGATE, 9999], Outcome.NOTE),
    ],
)
def test_xids_are_answered_by_the_catalogue(numbers: list[int], outcome: Outcome) -> None:
    for number in numbers:
        judged = judge(report(0, health(events=[xid(number)])))
        assert rules(judged) == [f"xid_{number}"]
        assert (judged.level, judged.action) == (outcome.level, outcome.action)


def test_every_xid_of_the_table_is_tested() -> None:
    assert set(XIDS) == {
        *(*RESTART_APPLICATION, *RESET, 79, 151, 54),
        *(*WORKFLOW, *IGNORED, *INVESTIGATE),
    }


def nvlink_5(severity: str, second: float = 0.0) -> dict[str, Any]:
    words = f"RLW_SRC_TRACK {severity} XC1 i0 Link 07 (0x00000007 0x00000001 0x00000000 0x00000000)"
    return {**xid(145, second), "id": severity, "text": words}


def test_of_nvlink_5_errors_the_kernels_words_tell_the_fatal_from_what_the_link_survived() -> None:
    fatal = judge(report(0, health(events=[nvlink_5("Fatal")])))
    assert (fatal.level, fatal.action) == (Outcome.RESET_FIRST.level, Outcome.RESET_FIRST.action)
    assert "in RLW_SRC_TRACK of link 7" in fatal.summary
    survived = judge(report(0, health(events=[nvlink_5("Nonfatal")])))
    assert (survived.level, survived.action) == (HealthLevel.OK, HealthAction.NONE)


def test_a_storm_of_survived_nvlink_5_errors_does_not_hide_the_fatal_one() -> None:
    fatal = report(0, health(events=[nvlink_5("Fatal")]))
    storm = report(60, health(events=[nvlink_5("Nonfatal", 60)]))
    assert rules(judge(fatal, storm)) == ["xid_145", "xid_145_nonfatal"]


def test_words_of_other_xids_change_nothing() -> None:
    assert entry(79, "FOO Nonfatal XC1 i0 Link 07") == entry(79)


@given(st.lists(st.sampled_from(RESTART_APPLICATION), min_size=1, max_size=50))
def test_no_number_of_the_jobs_own_xids_is_held_against_a_server(numbers: list[int]) -> None:
    events = [{**xid(number), "id": str(i)} for i, number in enumerate(numbers)]
    judged = judge(report(0, health(events=events)))
    assert (judged.level, judged.action) == (HealthLevel.OK, HealthAction.NONE)
    assert all(entry(number).response is Response.RESTART_APPLICATION for number in numbers)
