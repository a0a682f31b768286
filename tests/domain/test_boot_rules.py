"""What a machine boots, in every state and at every step of imaging."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.boot import BootFacts, BootTarget, boot_target
from provisioner.domain.lifecycle import STEPS, State, Step, Verb

WRITES_DISK = [verb for verb in Verb if Step.BOOT_TENANT in STEPS[verb]]
POWER = [Verb.STOP, Verb.START, Verb.REBOOT, Verb.POWER_OFF, Verb.POWER_CYCLE, Verb.RESET]
facts = st.builds(
    BootFacts,
    state=st.sampled_from(State),
    window_open=...,
    lease_runs=...,
    at=st.none() | st.sampled_from([(verb, step) for verb in Verb for step in STEPS[verb]]),
    installed=...,
    other_serial=...,
)


def test_a_machine_that_nobody_enrolled_boots_its_disk() -> None:
    assert boot_target(None) is BootTarget.DISK


@pytest.mark.parametrize(
    ("state", "verb", "step"),
    [
        (state, verb, step)
        for state, verb in (
            (State.IMAGING, Verb.IMAGE),
            (State.LEASED, Verb.REINSTALL),
            (State.MAINTENANCE, Verb.INSTALL),
        )
        for step in STEPS[verb]
    ],
)
def test_a_system_may_boot_as_soon_as_its_operation_starts_it(
    state: State, verb: Verb, step: Step
) -> None:
    told = boot_target(BootFacts(state, lease_runs=state is not State.MAINTENANCE, at=(verb, step)))
    started = STEPS[verb].index(step) >= STEPS[verb].index(Step.BOOT_TENANT)
    assert told is (BootTarget.DISK if started else BootTarget.HOLD)


def test_every_operation_that_writes_a_system_is_covered() -> None:
    assert set(WRITES_DISK) == {Verb.IMAGE, Verb.REINSTALL, Verb.INSTALL}


@pytest.mark.parametrize("at", [None, *((verb, STEPS[verb][-1]) for verb in POWER)])
def test_a_leased_server_boots_its_disk_whatever_is_done_to_its_power(
    at: tuple[Verb, Step] | None,
) -> None:
    assert boot_target(BootFacts(State.LEASED, lease_runs=True, at=at)) is BootTarget.DISK


def test_a_system_for_an_operator_boots_until_the_disks_are_worked_on() -> None:
    maintained = BootFacts(State.MAINTENANCE, installed=True)
    assert boot_target(maintained) is BootTarget.DISK
    sanitising = replace(maintained, at=(Verb.SANITISE, Step.SANITISE_DISKS))
    assert boot_target(sanitising) is BootTarget.HOLD


@given(facts)
def test_the_ramdisk_is_served_in_an_open_window_alone(facts: BootFacts) -> None:
    allowed = facts.window_open and not facts.other_serial
    assert (boot_target(facts) is BootTarget.RAMDISK) == allowed


@given(facts)
def test_no_disk_boots_without_a_lease_that_runs_or_an_operator_who_wrote_it(
    facts: BootFacts,
) -> None:
    nobodys = replace(facts, lease_runs=False, installed=False)
    if nobodys.at is None or nobodys.at[0] is not Verb.INSTALL:
        assert boot_target(nobodys) is not BootTarget.DISK


@given(facts)
def test_no_disk_boots_outside_imaging_a_lease_and_maintenance(facts: BootFacts) -> None:
    if facts.state not in (State.IMAGING, State.LEASED, State.MAINTENANCE):
        assert boot_target(facts) is not BootTarget.DISK


@given(facts)
def test_a_machine_of_another_serial_number_is_held(facts: BootFacts) -> None:
    assert boot_target(replace(facts, other_serial=True)) is BootTarget.HOLD
