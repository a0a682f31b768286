"""The transition table as the specification, and the invariants that no row may break."""

from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.lifecycle import (
    REACHED,
    RUNS,
    SLA,
    STEPS,
    TRANSITIONS,
    Effect,
    Facts,
    Intent,
    OperationState,
    State,
    Step,
    Verb,
    due,
    intents_for,
    next_step,
)
from provisioner.lifecycle.transition import EFFECTS

DONE, FAILED, RUNNING = OperationState.DONE, OperationState.FAILED, OperationState.RUNNING

facts = st.builds(Facts, **{field.name: ... for field in fields(Facts)})
"""Every field, by its type: one that is new is drawn without being named here."""
states = st.sampled_from(State)


@pytest.mark.parametrize(
    ("state", "facts", "target"),
    [
        (State.ENROLLED, Facts(), State.INSPECTING),
        (State.INSPECTING, Facts(RUNNING), None),
        (State.INSPECTING, Facts(DONE), State.SANITISING),
        (State.INSPECTING, Facts(FAILED), State.QUARANTINED),
        (State.SANITISING, Facts(DONE, sanitised=True), State.VALIDATING),
        (State.SANITISING, Facts(DONE, sanitised=False), State.QUARANTINED),
        (State.SANITISING, Facts(FAILED, sanitised=True), State.QUARANTINED),
        (State.VALIDATING, Facts(DONE, sanitised=True), State.AVAILABLE),
        (State.VALIDATING, Facts(DONE, sanitised=False), State.SANITISING),
        (State.AVAILABLE, Facts(sanitised=True), None),
        (State.AVAILABLE, Facts(sanitised=False), State.SANITISING),
        (State.AVAILABLE, Facts(sanitised=True, lease_open=True), State.IMAGING),
        (State.AVAILABLE, Facts(sanitised=False, lease_open=True), State.SANITISING),
        (State.AVAILABLE, Facts(sanitised=True, ramdisk_silent=True), State.VALIDATING),
        (State.AVAILABLE, Facts(sanitised=True, intent=Intent.MAINTAIN), State.MAINTENANCE),
        (State.AVAILABLE, Facts(sanitised=True, intent=Intent.RETIRE), State.RETIRED),
        (
            State.AVAILABLE,
            Facts(sanitised=True, lease_open=True, intent=Intent.MAINTAIN),
            State.IMAGING,
        ),
        (
            State.AVAILABLE,
            Facts(sanitised=True, lease_open=True, lease_over=True),
            State.RECLAIMING,
        ),
        (State.SANITISING, Facts(RUNNING, faulty=True), State.QUARANTINED),
        (State.VALIDATING, Facts(DONE, sanitised=True, faulty=True), State.QUARANTINED),
        (State.AVAILABLE, Facts(sanitised=True, faulty=True), State.QUARANTINED),
        (State.AVAILABLE, Facts(sanitised=True, lease_open=True, faulty=True), State.QUARANTINED),
        (
            State.AVAILABLE,
            Facts(lease_open=True, lease_over=True, faulty=True),
            State.RECLAIMING,
        ),
        (State.IMAGING, Facts(RUNNING, lease_open=True), None),
        (State.IMAGING, Facts(RUNNING, lease_open=True, faulty=True), State.RECLAIMING),
        (State.IMAGING, Facts(RUNNING, lease_open=True, lease_over=True), State.RECLAIMING),
        (State.IMAGING, Facts(DONE, lease_open=True), State.LEASED),
        (State.IMAGING, Facts(FAILED, lease_open=True), State.RECLAIMING),
        (State.LEASED, Facts(lease_open=True), None),
        (State.LEASED, Facts(lease_open=True, intent=Intent.QUARANTINE), None),
        (State.LEASED, Facts(lease_open=True, lease_over=True), State.RECLAIMING),
        (State.LEASED, Facts(lease_open=True, faulty=True), None),
        (State.RECLAIMING, Facts(RUNNING, faulty=True), None),
        (State.RECLAIMING, Facts(DONE, faulty=True), State.QUARANTINED),
        (State.RECLAIMING, Facts(DONE, lease_open=True, faulty=True), None),
        (State.RECLAIMING, Facts(DONE), State.SANITISING),
        (State.RECLAIMING, Facts(DONE, lease_open=True, lease_over=True), None),
        (State.RECLAIMING, Facts(DONE, intent=Intent.QUARANTINE), State.QUARANTINED),
        (State.QUARANTINED, Facts(), None),
        (State.QUARANTINED, Facts(intent=Intent.REPAIRED), State.INSPECTING),
        (State.QUARANTINED, Facts(intent=Intent.REPAIRED, lease_open=True), State.RECLAIMING),
        (State.MAINTENANCE, Facts(intent=Intent.RESUME), State.INSPECTING),
        (State.RETIRED, Facts(intent=Intent.REPAIRED), None),
    ],
)
def test_transition(state: State, facts: Facts, target: State | None) -> None:
    transition = due(state, facts)
    assert (transition.target if transition else None) == target


@given(states, facts)
def test_a_tenancy_never_begins_without_certificates_for_every_disk(
    state: State, facts: Facts
) -> None:
    transition = due(state, facts)
    if transition and transition.target is State.IMAGING:
        assert facts.sanitised
        assert facts.lease_open
        assert not facts.lease_over


@given(states, facts)
def test_nothing_enters_the_pool_of_available_servers_unerased(state: State, facts: Facts) -> None:
    transition = due(state, facts)
    if transition and transition.target is State.AVAILABLE:
        assert facts.sanitised
        assert state is State.VALIDATING


def test_a_lease_is_entered_only_through_imaging() -> None:
    assert {row.source for row in TRANSITIONS if row.target is State.LEASED} == {State.IMAGING}
    assert {row.source for row in TRANSITIONS if row.target is State.IMAGING} == {State.AVAILABLE}


@given(facts)
def test_a_lease_that_is_over_is_always_taken_back(facts: Facts) -> None:
    for state in (State.IMAGING, State.LEASED):
        if facts.lease_over or not facts.lease_open:
            transition = due(state, facts)
            assert transition is not None
            assert transition.target is State.RECLAIMING


@given(facts)
def test_a_tenants_server_is_left_only_by_way_of_reclaiming(facts: Facts) -> None:
    for state in (State.IMAGING, State.LEASED):
        transition = due(state, facts)
        assert transition is None or transition.target in (State.LEASED, State.RECLAIMING)


@given(facts)
def test_reclaiming_is_left_for_the_pool_only_when_the_lease_is_closed(facts: Facts) -> None:
    transition = due(State.RECLAIMING, facts)
    if transition and transition.target is not State.QUARANTINED:
        assert not facts.lease_open
        assert transition.target is State.SANITISING


@given(states, facts)
def test_a_server_that_is_faulty_is_offered_to_nobody(state: State, facts: Facts) -> None:
    transition = due(state, replace(facts, faulty=True))
    assert transition is None or transition.target not in (State.AVAILABLE, State.IMAGING)
    if state is State.AVAILABLE:
        assert transition is not None


@given(states, facts)
def test_a_failed_operation_never_leaves_a_server_waiting(state: State, facts: Facts) -> None:
    if state in RUNS and facts.operation is FAILED:
        assert due(state, facts) is not None


@given(states, facts)
def test_a_retired_server_is_erased(state: State, facts: Facts) -> None:
    transition = due(state, facts)
    if transition and transition.target is State.RETIRED:
        assert facts.sanitised
        assert not facts.lease_open


def test_every_busy_state_has_an_operation_and_a_time_limit() -> None:
    assert set(RUNS) | {State.ENROLLED} == set(SLA)
    assert set(RUNS.values()) == set(Verb)


def test_every_state_can_be_reached_and_all_but_retired_be_left() -> None:
    assert {row.target for row in TRANSITIONS} == set(State) - {State.ENROLLED}
    assert {row.source for row in TRANSITIONS} == set(State) - {State.RETIRED}


def test_every_condition_says_in_words_what_it_means() -> None:
    assert all(row.condition for row in TRANSITIONS)


def test_every_way_into_quarantine_says_why_and_moves_the_lease() -> None:
    for row in TRANSITIONS:
        if row.target is State.QUARANTINED:
            assert {Effect.QUARANTINE, Effect.MOVE_LEASE} <= set(row.then), row


def test_certificates_are_spent_where_a_tenancy_begins_and_nowhere_else() -> None:
    spending = {row.target for row in TRANSITIONS if Effect.SPEND_CERTIFICATES in row.then}
    assert spending == {State.IMAGING}
    assert all(
        Effect.SPEND_CERTIFICATES in row.then for row in TRANSITIONS if row.target is State.IMAGING
    )


def test_waiting_reservations_are_bound_wherever_one_may_have_been_added_or_a_server_freed() -> (
    None
):
    for row in TRANSITIONS:
        if Effect.MOVE_LEASE in row.then or row.target is State.AVAILABLE:
            assert row.then[-1] is Effect.BIND_WAITING, row


def test_whoever_repaired_a_server_may_have_written_to_its_disks() -> None:
    for row in TRANSITIONS:
        left = row.source is State.QUARANTINED and row.target is not State.RETIRED
        assert (Effect.BEGIN_ANEW in row.then) == left, row


def test_the_circuit_breaker_holds_back_what_health_alone_decides() -> None:
    assert {(row.source, row.target) for row in TRANSITIONS if row.for_health} == {
        (State.SANITISING, State.QUARANTINED),
        (State.VALIDATING, State.QUARANTINED),
        (State.AVAILABLE, State.QUARANTINED),
        (State.IMAGING, State.RECLAIMING),
        (State.RECLAIMING, State.QUARANTINED),
    }


def test_every_effect_is_some_rows_and_has_a_function() -> None:
    assert {effect for row in TRANSITIONS for effect in row.then} == set(Effect)
    assert EFFECTS.keys() == set(Effect)


def test_an_intent_is_accepted_only_where_a_row_answers_it() -> None:
    assert intents_for(State.QUARANTINED) == {Intent.REPAIRED, Intent.RETIRE}
    assert intents_for(State.AVAILABLE) == {Intent.QUARANTINE, Intent.MAINTAIN, Intent.RETIRE}
    assert intents_for(State.RETIRED) == frozenset()


@given(states, facts)
def test_an_intent_that_was_answered_is_spent(state: State, facts: Facts) -> None:
    transition = due(state, facts)
    idle = due(state, Facts(facts.operation, facts.sanitised, facts.lease_open, facts.lease_over))
    spoilt = facts.ramdisk_silent or facts.faulty
    if transition and transition != idle and facts.intent and not spoilt:
        assert transition.target in REACHED[facts.intent]


@pytest.mark.parametrize("verb", Verb)
def test_the_steps_of_an_operation_follow_one_another(verb: Verb) -> None:
    steps = STEPS[verb]
    assert all(next_step(verb, step) is after for step, after in pairwise(steps))
    assert next_step(verb, steps[-1]) is None


def test_power_is_read_off_before_a_lease_is_closed() -> None:
    steps = STEPS[Verb.RECLAIM]
    assert steps.index(Step.POWER_OFF) < steps.index(Step.CLOSE_LEASE) < steps.index(Step.POWER_ON)
