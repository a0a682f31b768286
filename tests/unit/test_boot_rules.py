"""What a booting machine is told, for every state, and every step of imaging."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.boot import BootFacts, BootTarget, boot_target
from provisioner.domain.lifecycle import STEPS, State, Step, Verb

IMAGE = STEPS[Verb.IMAGE]
facts = st.builds(
    BootFacts,
    state=st.sampled_from(State),
    window_open=...,
    lease_runs=...,
    at=st.none() | st.sampled_from([(verb, step) for verb in Verb for step in STEPS[verb]]),
    other_serial=...,
)


def test_a_machine_that_nobody_enrolled_boots_its_disk() -> None:
    assert boot_target(None) is BootTarget.DISK


@pytest.mark.parametrize("step", IMAGE)
def test_a_tenants_system_may_boot_as_soon_as_imaging_starts_it(step: Step) -> None:
    told = boot_target(BootFacts(State.IMAGING, lease_runs=True, at=(Verb.IMAGE, step)))
    started = IMAGE.index(step) >= IMAGE.index(Step.BOOT_TENANT)
    assert told is (BootTarget.DISK if started else BootTarget.HOLD)


def test_a_leased_server_boots_its_disk() -> None:
    assert boot_target(BootFacts(State.LEASED, lease_runs=True)) is BootTarget.DISK


@given(facts)
def test_the_ramdisk_is_served_in_an_open_window_alone(facts: BootFacts) -> None:
    allowed = facts.window_open and not facts.other_serial
    assert (boot_target(facts) is BootTarget.RAMDISK) == allowed


@given(facts)
def test_no_disk_boots_without_a_lease_that_runs(facts: BootFacts) -> None:
    assert boot_target(replace(facts, lease_runs=False)) is not BootTarget.DISK


@given(facts)
def test_no_disk_boots_outside_imaging_and_a_lease(facts: BootFacts) -> None:
    if facts.state not in (State.IMAGING, State.LEASED):
        assert boot_target(facts) is not BootTarget.DISK


@given(facts)
def test_a_machine_of_another_serial_number_is_held(facts: BootFacts) -> None:
    assert boot_target(replace(facts, other_serial=True)) is BootTarget.HOLD
