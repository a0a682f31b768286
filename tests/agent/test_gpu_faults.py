"""Every fault that a GPU can show is read, reported and judged as it should be.

These tests go from NVML's answers to the verdict, with the real nvidia-ml-py.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from gpu_agent import Agent

from lab.nvml import RECOVERY_ACTION, FakeNvml
from provisioner.domain.health import HealthAction, HealthLevel

Break = Callable[[FakeNvml], None]
WATCH, DEGRADED, FAULTY = HealthLevel.WATCH, HealthLevel.DEGRADED, HealthLevel.FAULTY


def value(key: str, to: object, gpu: int = 3) -> Break:
    return lambda fake: fake.set(gpu, key, to)


def values(**to: object) -> Break:
    def set_all(fake: FakeNvml) -> None:
        for key, one in to.items():
            fake.set(3, key.replace("__", "."), one)

    return set_all


def fails(function: str, code: int) -> Break:
    return lambda fake: fake.fail(function, code, 3)


def tells(number: int) -> Break:
    return lambda fake: fake.xid(3, number)


def recommends(action: int) -> Break:
    def change(fake: FakeNvml) -> None:
        fake.set(3, "field.230", action)
        fake.event(3, RECOVERY_ACTION, 0)

    return change


class Fault(NamedTuple):
    """`within`: the seconds in which it must be judged."""

    make: Break
    within: int
    rule: str
    level: HealthLevel
    action: HealthAction


FAULTS = [
    Fault(*fault)
    for fault in [
        (lambda fake: fake.lose(3), 10, "gpu_lost", FAULTY, HealthAction.QUARANTINE),
        (value("count", 7, "system"), 0, "gpus_missing", FAULTY, HealthAction.QUARANTINE),
        (recommends(1), 0, "recovery_reset", FAULTY, HealthAction.RESET_AT_LEASE_END),
        (recommends(2), 0, "recovery_reboot", FAULTY, HealthAction.REBOOT),
        (recommends(3), 0, "recovery_drain", DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
        (recommends(4), 0, "recovery_drain_and_reset", DEGRADED, HealthAction.RESET_AT_LEASE_END),
        (
            value("ecc.volatile.uncorrected.dram", 1),
            10,
            "dram_uncorrectable",
            DEGRADED,
            HealthAction.RESET_AT_LEASE_END,
        ),
        (
            value("ecc.volatile.uncorrected.sram", 2),
            10,
            "sram_uncorrectable",
            DEGRADED,
            HealthAction.DRAIN_AT_LEASE_END,
        ),
        (
            value("ecc.aggregate.uncorrected.sram", 2),
            60,
            "sram_errors_before",
            WATCH,
            HealthAction.NONE,
        ),
        (
            value("ecc.volatile.corrected.sram", 10_001),
            10,
            "sram_correctable",
            DEGRADED,
            HealthAction.DRAIN_AT_LEASE_END,
        ),
        (
            value("ecc.volatile.corrected.dram", 500),
            10,
            "dram_correctable",
            WATCH,
            HealthAction.NONE,
        ),
        (value("sram.threshold_exceeded", 1), 60, "sram_threshold", FAULTY, HealthAction.RMA),
        (value("ecc.mode", 0), 60, "ecc_off", WATCH, HealthAction.RESET_AT_LEASE_END),
        (value("remap.pending", 1), 10, "remap_pending", DEGRADED, HealthAction.RESET_AT_LEASE_END),
        (value("remap.failure", 1), 10, "remap_failure", FAULTY, HealthAction.RMA),
        (value("remap.uncorrected", 513), 10, "remap_many", FAULTY, HealthAction.RMA),
        (value("remap.histogram", "638 0 0 2 0"), 60, "remap_banks_low", WATCH, HealthAction.NONE),
        (value("remap.histogram", "639 0 0 0 1"), 60, "remap_banks_none", WATCH, HealthAction.NONE),
        (
            value("retired.pending", 1),
            60,
            "pages_pending",
            DEGRADED,
            HealthAction.RESET_AT_LEASE_END,
        ),
        (
            values(retired__single_bit=20, retired__double_bit=40),
            60,
            "pages_many",
            FAULTY,
            HealthAction.RMA,
        ),
        (
            fails("nvmlDeviceValidateInforom", 14),
            60,
            "inforom",
            DEGRADED,
            HealthAction.RESET_AT_LEASE_END,
        ),
        (value("temperature.margin", 0), 70, "hot", DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
        (value("temperature.margin", 4), 310, "warm", WATCH, HealthAction.NONE),
        (
            values(threshold__1=90, temperature=91),
            130,
            "hot_by_limit",
            DEGRADED,
            HealthAction.DRAIN_AT_LEASE_END,
        ),
        (
            values(threshold__2=95, field__82=96),
            130,
            "memory_hot",
            DEGRADED,
            HealthAction.DRAIN_AT_LEASE_END,
        ),
        (
            fails("nvmlDeviceGetPowerUsage", 999),
            10,
            "power_unreadable",
            FAULTY,
            HealthAction.REBOOT,
        ),
        (
            value("power.enforced", 400_000),
            60,
            "power_limit_lowered",
            WATCH,
            HealthAction.RESET_AT_LEASE_END,
        ),
        (fails("nvmlDeviceGetClockInfo", 4), 10, "unreadable", WATCH, HealthAction.NONE),
        (value("nvlink.state.7", 0), 140, "nvlink_down", FAULTY, HealthAction.QUARANTINE),
        (value("field.163.5", 60_000), 60, "nvlink_crc", DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
        (value("field.161.5", 1000), 60, "nvlink_replays", WATCH, HealthAction.NONE),
        (value("field.162.5", 2), 60, "nvlink_recoveries", WATCH, HealthAction.NONE),
        (
            value("fabric.state", 2),
            320,
            "fabric_not_joined",
            DEGRADED,
            HealthAction.RESET_AT_LEASE_END,
        ),
        (value("fabric.status", 999), 10, "fabric_error", FAULTY, HealthAction.QUARANTINE),
        (
            value("fabric.health_summary", 2),
            10,
            "fabric_unhealthy",
            DEGRADED,
            HealthAction.DRAIN_AT_LEASE_END,
        ),
        (
            value("fabric.health_summary", 3),
            10,
            "fabric_limited",
            DEGRADED,
            HealthAction.DRAIN_AT_LEASE_END,
        ),
        (
            value("fabric.health_mask", "0x1"),
            10,
            "fabric_bandwidth",
            DEGRADED,
            HealthAction.DRAIN_AT_LEASE_END,
        ),
        (
            value("fabric.health_mask", "0x10"),
            10,
            "fabric_route",
            DEGRADED,
            HealthAction.DRAIN_AT_LEASE_END,
        ),
        (
            value("fabric.health_mask", "0x500"),
            10,
            "fabric_misconfigured",
            DEGRADED,
            HealthAction.DRAIN_AT_LEASE_END,
        ),
        (value("pcie.width", 8), 80, "pcie_narrow", DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
        (
            values(pcie__generation=3, utilization__gpu=97),
            140,
            "pcie_slow",
            DEGRADED,
            HealthAction.DRAIN_AT_LEASE_END,
        ),
        (value("pcie.replays", 500), 10, "pcie_replays", DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
        (tells(95), 0, "xid_95", FAULTY, HealthAction.RESET_AT_LEASE_END),
        (tells(79), 0, "xid_79", FAULTY, HealthAction.REBOOT),
        (tells(54), 0, "xid_54", FAULTY, HealthAction.QUARANTINE),
        (tells(74), 0, "xid_74", DEGRADED, HealthAction.DRAIN_AT_LEASE_END),
        (tells(92), 0, "xid_92", WATCH, HealthAction.NONE),
    ]
]


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.rule for fault in FAULTS])
def test_a_fault_is_seen_and_judged(gpus: FakeNvml, fault: Fault) -> None:
    agent = Agent(gpus)
    assert agent.look(60).level is HealthLevel.OK
    fault.make(gpus)
    if fault.rule == "gpus_missing":  # noticed when the reader restarts
        agent = Agent(gpus)
    judged = agent.look(fault.within)
    assert (judged.level, judged.action) == (fault.level, fault.action), judged
    [finding] = [finding for finding in judged.findings if finding.rule == fault.rule]
    assert finding.part in (agent.gpu(3).get("uuid"), "server")
    assert "?" not in finding.summary


SLOWED = [
    (0x08, "hw_slowdown", DEGRADED),
    (0x40, "hw_thermal", DEGRADED),
    (0x80, "power_brake", DEGRADED),
    (0x20, "sw_thermal", WATCH),
]


@pytest.mark.parametrize(("bit", "rule", "level"), SLOWED)
def test_being_slowed_down_for_a_minute_is_judged(
    agent: Agent, bit: int, rule: str, level: HealthLevel
) -> None:
    agent.look(1, every=1)
    agent.fake.set(5, "clocks.reasons", f"{bit:#x}")
    assert agent.look(50, every=1).level is HealthLevel.OK
    judged = agent.look(20, every=1)
    assert ([finding.rule for finding in judged.findings], judged.level) == ([rule], level)


def test_the_power_cap_and_idling_are_no_faults(agent: Agent) -> None:
    agent.fake.set("all", "clocks.reasons", "0x5")
    assert agent.look(120, every=1).level is HealthLevel.OK


@pytest.mark.parametrize("profile", ["h100-sxm-8", "h200-sxm-8", "b200-8", "l40s-4"])
def test_good_servers_are_healthy(gpus: FakeNvml, profile: str) -> None:
    count = int(profile.rpartition("-")[2])
    agent = Agent(FakeNvml(gpus.file, profile), gpus_expected=count)
    judged = agent.look(700)
    assert (judged.level, judged.findings) == (HealthLevel.OK, ())
    assert agent.gpu(count - 1)["errors"] == []


@pytest.mark.parametrize("number", [13, 31, 43, 45, 94])
def test_the_jobs_own_errors_are_told_and_not_held_against_the_server(
    agent: Agent, number: int
) -> None:
    agent.read()
    agent.fake.xid(3, number)
    judged = agent.read()
    assert judged.level is HealthLevel.OK
    [finding] = judged.findings
    assert finding.summary.startswith(f"GPU 3: XID {number}, ")


def test_a_lost_gpu_is_not_asked_again_at_once_and_keeps_its_name(agent: Agent) -> None:
    uuid = agent.read() and agent.gpu(3)["uuid"]
    agent.fake.lose(3)
    agent.look(10)
    agent.calls.clear()
    agent.look(40)
    assert not [call for call in agent.calls if call.endswith("GPU 3")]
    assert agent.gpu(3)["uuid"] == uuid
    assert agent.gpu(3)["lost"] is True
    assert "temperature_c" not in agent.gpu(3)
    assert agent.gpu(4)["lost"] is False


def test_a_gpu_that_is_lost_before_the_agent_starts_is_told(gpus: FakeNvml) -> None:
    gpus.lose(0)
    judged = Agent(gpus).read()
    assert (judged.level, judged.summary) == (FAULTY, "GPU 0 has fallen off the bus")


def test_a_driver_without_events_is_in_no_call_while_the_reader_waits(gpus: FakeNvml) -> None:
    gpus.unset("all", "events")
    gpus.set("all", "lost", 1)
    agent = Agent(gpus)
    agent.look(30)
    assert agent.calls[-2:] == ["", ""]


def test_a_gpu_that_comes_back_is_read_again(agent: Agent) -> None:
    agent.read()
    agent.fake.set(3, "lost", 1)
    agent.look(10)
    agent.fake.unset(3, "lost")
    agent.look(70)
    assert agent.gpu(3)["lost"] is False
    assert agent.gpu(3)["temperature_c"] == 34


def test_cards_without_a_bridge_have_no_broken_links(agent: Agent) -> None:
    for link in range(18):
        agent.fake.set("all", f"nvlink.state.{link}", 0)
    assert agent.look(300).level is HealthLevel.OK


def test_a_signal_that_goes_away_is_absent(agent: Agent) -> None:
    agent.read()
    agent.fake.unset("all", "temperature.margin")
    agent.look(10)
    assert "temperature_margin_c" not in agent.gpu(0)


def test_every_reading_is_a_signal_of_the_table(agent: Agent) -> None:
    agent.look(60)
    sent, stored = agent.watch.health()["gpus"][0], agent.gpu(0)
    assert sent == stored
