"""The transition table as the specification, and the invariants that no row may break."""

from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.lifecycle import (
    ALLOWED,
    OPERATIONS,
    REACHED,
    RUNS,
    SLA,
    STEPS,
    OperationState,
    RequestVerb,
    State,
    Step,
    Verb,
    next_step,
)
from provisioner.domain.reservations import ON_LEASE
from provisioner.domain.transitions import TRANSITIONS, Effect, Facts, due, operation_due
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
        (State.AVAILABLE, Facts(sanitised=True, requested=RequestVerb.MAINTAIN), State.MAINTENANCE),
        (State.AVAILABLE, Facts(sanitised=True, requested=RequestVerb.RETIRE), State.RETIRED),
        (
            State.AVAILABLE,
            Facts(sanitised=True, lease_open=True, requested=RequestVerb.MAINTAIN),
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
        (State.LEASED, Facts(lease_open=True, requested=RequestVerb.QUARANTINE), None),
        (State.LEASED, Facts(lease_open=True, lease_over=True), State.RECLAIMING),
        (State.LEASED, Facts(lease_open=True, faulty=True), None),
        (State.RECLAIMING, Facts(RUNNING, faulty=True), None),
        (State.RECLAIMING, Facts(DONE, faulty=True), State.QUARANTINED),
        (State.RECLAIMING, Facts(DONE, lease_open=True, faulty=True), None),
        (State.RECLAIMING, Facts(DONE), State.SANITISING),
        (State.RECLAIMING, Facts(DONE, lease_open=True, lease_over=True), None),
        (State.RECLAIMING, Facts(DONE, requested=RequestVerb.QUARANTINE), State.QUARANTINED),
        (State.QUARANTINED, Facts(), None),
        (State.QUARANTINED, Facts(requested=RequestVerb.REPAIRED), State.INSPECTING),
        (
            State.QUARANTINED,
            Facts(requested=RequestVerb.REPAIRED, lease_open=True),
            State.RECLAIMING,
        ),
        (State.MAINTENANCE, Facts(requested=RequestVerb.RESUME), State.INSPECTING),
        (State.RETIRED, Facts(requested=RequestVerb.REPAIRED), None),
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
    assert set(RUNS.values()) | set(OPERATIONS.values()) == set(Verb)


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


def test_every_request_leads_to_another_state_or_to_an_operation() -> None:
    assert REACHED.keys() | OPERATIONS.keys() == set(RequestVerb)
    assert not REACHED.keys() & OPERATIONS.keys()
    assert ALLOWED.keys() == set(State)


@pytest.mark.parametrize(
    ("state", "verb"), [(state, verb) for state in State for verb in sorted(ALLOWED[state])]
)
def test_what_is_allowed_in_a_state_is_answered_there(state: State, verb: RequestVerb) -> None:
    done = DONE if state is State.RECLAIMING else None
    idle = Facts(done, sanitised=True, lease_open=state is State.LEASED)
    asking = replace(idle, requested=verb)
    if verb in OPERATIONS:
        assert operation_due(state, asking) is OPERATIONS[verb]
    else:
        answer = due(state, asking)
        assert answer is not None
        assert answer.target in REACHED[verb]


@given(states, facts)
def test_an_operation_is_started_only_by_a_request_that_the_state_allows(
    state: State, facts: Facts
) -> None:
    verb = operation_due(state, facts)
    if verb is not None:
        assert facts.requested in ALLOWED[state]
        assert facts.operation is None
        assert state not in RUNS


def test_customers_may_request_what_a_leased_server_allows() -> None:
    assert set(ON_LEASE) == ALLOWED[State.LEASED]


def test_what_writes_to_disks_is_requested_of_tenants_for_themselves_alone() -> None:
    writing = {verb for verb, ran in OPERATIONS.items() if Step.WRITE_IMAGE in STEPS[ran]}
    assert ALLOWED[State.LEASED] & writing == {RequestVerb.REINSTALL}
    assert RequestVerb.SANITISE not in ALLOWED[State.LEASED]
    for state in set(State) - {State.LEASED, State.MAINTENANCE}:
        assert not ALLOWED[state] & (writing | {RequestVerb.SANITISE})


@given(states, facts)
def test_a_request_for_a_state_that_was_answered_is_done(state: State, facts: Facts) -> None:
    transition = due(state, facts)
    idle = due(state, replace(facts, requested=None))
    if transition and transition != idle and facts.requested:
        assert transition.target in REACHED[facts.requested]


@pytest.mark.parametrize("verb", Verb)
def test_the_steps_of_an_operation_follow_one_another(verb: Verb) -> None:
    steps = STEPS[verb]
    assert all(next_step(verb, step) is after for step, after in pairwise(steps))
    assert next_step(verb, steps[-1]) is None


def test_power_is_read_off_before_a_lease_is_closed() -> None:
    steps = STEPS[Verb.RECLAIM]
    assert steps.index(Step.POWER_OFF) < steps.index(Step.CLOSE_LEASE) < steps.index(Step.POWER_ON)
