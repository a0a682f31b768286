"""When a server changes its state: one literal table of transitions.

The reconciler gathers :class:`Facts`, asks :func:`due` and carries out the answer. Only the table
decides, and only from what is true now, never from history.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from provisioner.domain.lifecycle import (
    ALLOWED,
    OPERATIONS,
    RUNS,
    OperationState,
    RequestVerb,
    State,
    Verb,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the table may look at, as of now."""

    operation: OperationState | None = None
    """State of the operation that the server's state runs, None before it starts; in a state that
    runs none, state of the one that carries out a request."""
    sanitised: bool = False
    """Every inventoried disk has a certificate newer than its last use, and there is a disk."""
    lease_open: bool = False
    """A lease is bound to the server and not closed."""
    lease_over: bool = False
    """That lease has expired or was released."""
    ramdisk_silent: bool = False
    """The ramdisk that should be waiting has not reported within its grace period."""
    faulty: bool = False
    """Its health forbids the next lease, and the circuit breaker is closed."""
    doubted: bool = False
    """It would, but only a tenant reported the fault, which cannot be verified, and they reported
    too many."""
    bmc_lost: bool = False
    """The BMC has refused our login since a tenancy."""
    requested: RequestVerb | None = None
    """The first open request that the state allows."""


Condition = Callable[[Facts], bool]


def always(facts: Facts) -> bool:
    """at once"""
    return True


def done(facts: Facts) -> bool:
    """its operation is done"""
    return facts.operation is OperationState.DONE


def done_and_sanitised(facts: Facts) -> bool:
    """its operation is done and every disk has a certificate newer than its last use"""
    return done(facts) and facts.sanitised


def done_unsanitised(facts: Facts) -> bool:
    """its operation is done and a disk has no certificate newer than its last use"""
    return done(facts) and not facts.sanitised


def failed(facts: Facts) -> bool:
    """its operation failed"""
    return facts.operation is OperationState.FAILED


def unsanitised(facts: Facts) -> bool:
    """a disk has no certificate newer than its last use"""
    return not facts.sanitised


def to_prepare(facts: Facts) -> bool:
    """a lease is bound to it, and every disk has a certificate newer than its last use"""
    return facts.lease_open and not facts.lease_over and facts.sanitised


def over(facts: Facts) -> bool:
    """its lease has ended"""
    return not facts.lease_open or facts.lease_over


def done_with_lease(facts: Facts) -> bool:
    """its operation is done and its lease has not ended"""
    return done(facts) and not over(facts)


def closed_to_quarantine(facts: Facts) -> bool:
    """its operation is done, its lease is closed, and quarantine was requested"""
    return closed(facts) and facts.requested is RequestVerb.QUARANTINE


def closed_and_faulty(facts: Facts) -> bool:
    """its operation is done, its lease is closed, and its health forbids the next lease"""
    return closed(facts) and facts.faulty


def closed_and_doubted(facts: Facts) -> bool:
    """its operation is done, its lease is closed, and its tenant's report of a fault is doubted"""
    return closed(facts) and facts.doubted


def closed(facts: Facts) -> bool:
    """its operation is done and its lease is closed"""
    return done(facts) and not facts.lease_open


def faulty(facts: Facts) -> bool:
    """its health forbids the next lease"""
    return facts.faulty


def doubted(facts: Facts) -> bool:
    """its last tenant's report of a fault is doubted"""
    return facts.doubted


def requested(verb: RequestVerb) -> Condition:
    def condition(facts: Facts) -> bool:
        return facts.requested is verb

    condition.__doc__ = f"an operator requests: {verb.value}"
    return condition


def retirable(facts: Facts) -> bool:
    """an operator requests: retire, no lease is bound, and every disk is erased"""
    return facts.requested is RequestVerb.RETIRE and facts.sanitised and not facts.lease_open


def repaired_unreclaimed(facts: Facts) -> bool:
    """an operator requests: repaired, and its lease is still open or its BMC is lost"""
    return facts.requested is RequestVerb.REPAIRED and (facts.lease_open or facts.bmc_lost)


def over_unprepared(facts: Facts) -> bool:
    """its lease ended before the server was prepared"""
    return facts.lease_open and facts.lease_over


def silent(facts: Facts) -> bool:
    """its ramdisk has fallen silent"""
    return facts.ramdisk_silent


def maintainable(facts: Facts) -> bool:
    """an operator requests: maintain, and no lease is bound"""
    return facts.requested is RequestVerb.MAINTAIN and not facts.lease_open


class Effect(StrEnum):
    """What a transition does besides changing the state and starting its operation, in words."""

    QUARANTINE = "an incident says why and what to do next"
    QUARANTINE_AFTERWARDS = "quarantine follows once it is reclaimed, and an incident says why"
    MOVE_LEASE = "a lease that was not handed over moves to another server"
    END_LEASES_TROUBLES = "the lease's outage and health incidents end"
    DOUBT = "an incident says so, and its health is judged afresh in our ramdisk"
    BEGIN_ANEW = "its incident is closed, its health is judged afresh, its disks count as used"
    SPEND_CERTIFICATES = "the lease keeps the certificates, and the disks count as used"
    BIND_WAITING = "waiting reservations of its class are bound"


@dataclass(frozen=True, slots=True)
class Transition:
    source: State
    when: Condition
    target: State
    then: tuple[Effect, ...] = ()
    """Effects, applied in this order after the state has changed."""

    @property
    def condition(self) -> str:
        """The condition in words."""
        return (self.when.__doc__ or "").strip()

    @property
    def for_health(self) -> bool:
        """Whether the circuit breaker may hold it back."""
        return self.when in (faulty, closed_and_faulty)


quarantine = requested(RequestVerb.QUARANTINE)

_QUARANTINED = (Effect.MOVE_LEASE, Effect.QUARANTINE, Effect.BIND_WAITING)

TRANSITIONS: tuple[Transition, ...] = (
    # The first matching row is due: failures and operators come before progress.
    Transition(State.ENROLLED, quarantine, State.QUARANTINED, _QUARANTINED),
    Transition(State.ENROLLED, always, State.INSPECTING),
    Transition(State.INSPECTING, failed, State.QUARANTINED, _QUARANTINED),
    Transition(State.INSPECTING, quarantine, State.QUARANTINED, _QUARANTINED),
    Transition(State.INSPECTING, done, State.SANITISING),
    Transition(State.SANITISING, failed, State.QUARANTINED, _QUARANTINED),
    Transition(State.SANITISING, quarantine, State.QUARANTINED, _QUARANTINED),
    Transition(State.SANITISING, faulty, State.QUARANTINED, _QUARANTINED),
    Transition(State.SANITISING, done_unsanitised, State.QUARANTINED, _QUARANTINED),
    Transition(State.SANITISING, done_and_sanitised, State.VALIDATING),
    Transition(State.VALIDATING, failed, State.QUARANTINED, _QUARANTINED),
    Transition(State.VALIDATING, quarantine, State.QUARANTINED, _QUARANTINED),
    Transition(State.VALIDATING, faulty, State.QUARANTINED, _QUARANTINED),
    Transition(State.VALIDATING, done_unsanitised, State.SANITISING),
    Transition(State.VALIDATING, done, State.AVAILABLE, (Effect.BIND_WAITING,)),
    Transition(State.AVAILABLE, quarantine, State.QUARANTINED, _QUARANTINED),
    Transition(State.AVAILABLE, over_unprepared, State.RECLAIMING),
    Transition(State.AVAILABLE, faulty, State.QUARANTINED, _QUARANTINED),
    Transition(State.AVAILABLE, unsanitised, State.SANITISING),
    Transition(State.AVAILABLE, to_prepare, State.IMAGING, (Effect.SPEND_CERTIFICATES,)),
    Transition(State.AVAILABLE, maintainable, State.MAINTENANCE),
    Transition(State.AVAILABLE, retirable, State.RETIRED),
    # The circuit breaker was open when it was reclaimed.
    Transition(State.AVAILABLE, doubted, State.VALIDATING, (Effect.DOUBT,)),
    Transition(State.AVAILABLE, silent, State.VALIDATING),
    # Power it off first: the image may be running, with a customer's key in it.
    Transition(
        State.IMAGING,
        failed,
        State.RECLAIMING,
        (Effect.QUARANTINE_AFTERWARDS, Effect.MOVE_LEASE, Effect.BIND_WAITING),
    ),
    Transition(State.IMAGING, over, State.RECLAIMING),
    # Reclaiming checks again whether it is still faulty after the power cycle.
    Transition(State.IMAGING, faulty, State.RECLAIMING, (Effect.MOVE_LEASE, Effect.BIND_WAITING)),
    Transition(State.IMAGING, done_with_lease, State.LEASED),
    Transition(State.LEASED, over, State.RECLAIMING, (Effect.END_LEASES_TROUBLES,)),
    Transition(State.RECLAIMING, failed, State.QUARANTINED, _QUARANTINED),
    Transition(State.RECLAIMING, closed_to_quarantine, State.QUARANTINED, _QUARANTINED),
    Transition(State.RECLAIMING, closed_and_faulty, State.QUARANTINED, _QUARANTINED),
    Transition(State.RECLAIMING, closed_and_doubted, State.SANITISING, (Effect.DOUBT,)),
    Transition(State.RECLAIMING, closed, State.SANITISING),
    Transition(State.QUARANTINED, repaired_unreclaimed, State.RECLAIMING, (Effect.BEGIN_ANEW,)),
    Transition(
        State.QUARANTINED, requested(RequestVerb.REPAIRED), State.INSPECTING, (Effect.BEGIN_ANEW,)
    ),
    Transition(State.QUARANTINED, retirable, State.RETIRED),
    Transition(State.MAINTENANCE, quarantine, State.QUARANTINED, _QUARANTINED),
    Transition(State.MAINTENANCE, requested(RequestVerb.RESUME), State.INSPECTING),
    Transition(State.MAINTENANCE, retirable, State.RETIRED),
)


def due(state: State, facts: Facts) -> Transition | None:
    """Return the transition that is due from `state`, or None if there is none."""
    for transition in TRANSITIONS:
        if transition.source is state and transition.when(facts):
            return transition
    return None


def operation_due(state: State, facts: Facts) -> Verb | None:
    """Return the operation that a request starts now; a state's own starts when it is entered."""
    if state in RUNS or facts.operation is not None or facts.requested is None:
        return None
    return OPERATIONS.get(facts.requested) if facts.requested in ALLOWED[state] else None
