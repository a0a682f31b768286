"""What only a tenant has reported is verified by our ramdisk, or believed only so often."""

from datetime import timedelta
from typing import Any

import pytest
from health_reports import LEASE, START, at, health, judge, report, rules
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol import RAMDISK, TENANT
from agent.signals import PARTS
from provisioner.domain.health import Sample, Verdict, is_believed, unfit, unverified
from provisioner.domain.health.fitness import BY_A_PERSON
from provisioner.domain.health.fleet import BELIEVED, BELIEVED_WITHIN
from provisioner.domain.health.rule import Measure, Rule, Scope
from provisioner.domain.health.rules import RULES

SOUND = {"name": "nvme0", "state": "live", "critical_warning": 0}
FAILING = {**SOUND, "critical_warning": 4}
DEAD = {**SOUND, "state": "dead"}


def disks(second: float, *read: dict[str, Any], context: str = RAMDISK) -> Sample:
    said = {"state": "absent", "disks": list(read)}
    return report(second, said, boot=context, context=context)


def told(*read: dict[str, Any]) -> Verdict:
    """The verdict on what a tenant's system has told for three minutes."""
    return judge(*(disks(second, *read, context=TENANT) for second in range(0, 181, 60)))


def test_a_finding_names_the_lease_whose_system_alone_has_reported_it() -> None:
    (finding,) = told(FAILING).findings
    assert (finding.lease_id, finding.by_tenant, finding.awaits_ramdisk) == (LEASE, True, True)
    (finding,) = judge(disks(0, FAILING)).findings
    assert (finding.lease_id, finding.by_tenant, finding.awaits_ramdisk) == ("", False, False)


def test_what_a_bmc_reads_is_no_tenants_word() -> None:
    fan = {"name": "FAN1", "fan_severity": 2, "type": "fan"}
    stored = {"boot_id": "b1", "context": TENANT, "uptime_s": 1.0, "health": health()}
    (finding,) = judge(Sample.of(stored, START, [fan], LEASE)).findings
    assert not finding.by_tenant


@pytest.mark.parametrize("lie", [FAILING, DEAD, {"name": "nvme7", "failure_predicted": 1}])
def test_a_disk_that_only_a_tenant_reported_awaits_our_ramdisk(lie: dict[str, Any]) -> None:
    verdict = told(lie)
    assert unfit(verdict, TENANT) is None
    assert unverified(verdict) is not None
    unread = report(200, {"state": "absent"}, boot=RAMDISK, context=RAMDISK)
    assert unverified(judge(unread, previous=verdict)) is not None
    assert judge(unread, disks(210, SOUND), previous=verdict).findings == ()


def test_a_disk_that_our_ramdisk_finds_too_is_unfit() -> None:
    verdict = judge(disks(200, FAILING), previous=told(FAILING))
    assert unverified(verdict) is None
    finding = unfit(verdict, RAMDISK)
    assert finding is not None
    assert not finding.by_tenant


@pytest.mark.parametrize("name", ["nvme0", "nvme1"])
def test_a_dead_disk_awaits_our_ramdisk_until_it_was_dead_there_for_long_enough(name: str) -> None:
    dead = {**DEAD, "name": name}
    verdict = judge(disks(200, dead), disks(260, dead), previous=told(DEAD))
    assert unfit(verdict, RAMDISK) is None
    assert unverified(verdict) is not None
    verdict = judge(disks(320, dead), previous=verdict)
    finding = unfit(verdict, RAMDISK)
    assert finding is not None
    assert finding.part == f"disk-{name}"


def test_what_our_ramdisk_found_does_not_become_a_tenants_word() -> None:
    verdict = judge(disks(0, FAILING), disks(60, FAILING, context=TENANT))
    (finding,) = verdict.findings
    assert not finding.by_tenant


def test_gpus_that_a_tenant_misses_on_the_bus_are_counted_by_our_ramdisk() -> None:
    verdict = judge(report(0, {"gpus_on_bus": 7}), gpus_expected=8)
    assert rules(verdict) == ["gpus_missing_on_bus"]
    assert unfit(verdict, "b1") is None
    counted = report(60, {"gpus_on_bus": 8}, boot=RAMDISK, context=RAMDISK)
    assert judge(counted, previous=verdict, gpus_expected=8).findings == ()


def test_a_gpus_fault_cannot_be_verified_and_counts_on_a_tenants_word() -> None:
    verdict = judge(report(0, health({"remap_failure": 1})))
    in_ramdisk = judge(disks(60, SOUND), previous=verdict)
    finding = unfit(in_ramdisk, RAMDISK)
    assert finding is not None
    assert finding.lease_id == LEASE


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.verifiable], ids=lambda rule: rule.name
)
def test_what_is_verifiable_is_read_without_a_driver(rule: Rule) -> None:
    assert rule.scope in (Scope.DISK, Scope.SERVER)
    assert rule.measure is not Measure.INCREASE, "a boot is too short"


def test_every_state_of_a_disk_that_keeps_it_from_the_next_lease_is_verified() -> None:
    for rule in RULES:
        if rule.scope is Scope.DISK and rule.measure is not Measure.INCREASE:
            assert rule.verifiable is (rule.outcome.action in BY_A_PERSON), rule.name
            assert rule.signal in {signal.name for signal in PARTS["disks"]}


@given(st.lists(st.integers(0, 60), max_size=6))
def test_an_account_is_believed_for_so_many_servers_within_a_time(days: list[int]) -> None:
    quarantined = [START - timedelta(days=ago) for ago in days]
    recent = [ago for ago in days if timedelta(days=ago) < BELIEVED_WITHIN]
    assert is_believed(quarantined, at(0)) is (len(recent) < BELIEVED)
