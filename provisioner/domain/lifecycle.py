"""The lifecycle of a server: one literal table of transitions, and which operation each state runs.

The reconciler gathers :class:`Facts`, asks :func:`due` and carries out what the answer says. Only
the table decides; nothing here depends on what happened before, only on what is true now.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class State(StrEnum):
    ENROLLED = "enrolled"
    INSPECTING = "inspecting"
    SANITISING = "sanitising"
    VALIDATING = "validating"
    AVAILABLE = "available"
    IMAGING = "imaging"
    LEASED = "leased"
    RECLAIMING = "reclaiming"
    QUARANTINED = "quarantined"
    MAINTENANCE = "maintenance"
    RETIRED = "retired"


class Verb(StrEnum):
    """What an operation does."""

    INSPECT = "inspect"
    SANITISE = "sanitise"
    VALIDATE = "validate"
    IMAGE = "image"
    RECLAIM = "reclaim"


class Step(StrEnum):
    FIND_RAMDISK = "find_ramdisk"
    POWER_OFF = "power_off"
    OPEN_BOOT_WINDOW = "open_boot_window"
    POWER_ON = "power_on"
    AWAIT_RAMDISK = "await_ramdisk"
    COLLECT_FACTS = "collect_facts"
    SANITISE_DISKS = "sanitise_disks"
    CHECK_HARDWARE = "check_hardware"
    WRITE_IMAGE = "write_image"
    PERSONALISE = "personalise"
    BOOT_TENANT = "boot_tenant"
    AWAIT_TENANT = "await_tenant"
    OPEN_PORT = "open_port"
    HAND_OVER = "hand_over"
    SHUT_PORT = "shut_port"
    CLOSE_LEASE = "close_lease"
    REACH_BMC = "reach_bmc"
    DISABLE_BMC_USERS = "disable_bmc_users"
    ROTATE_BMC_PASSWORD = "rotate_bmc_password"  # noqa: S105  # a step


RAMDISK = (
    Step.FIND_RAMDISK,
    Step.POWER_OFF,
    Step.OPEN_BOOT_WINDOW,
    Step.POWER_ON,
    Step.AWAIT_RAMDISK,
)
"""To a running deploy ramdisk; the first step skips the rest when one is waiting."""

STEPS: dict[Verb, tuple[Step, ...]] = {
    Verb.INSPECT: (*RAMDISK, Step.COLLECT_FACTS),
    Verb.SANITISE: (*RAMDISK, Step.SANITISE_DISKS),
    Verb.VALIDATE: (*RAMDISK, Step.CHECK_HARDWARE),
    Verb.IMAGE: (
        *RAMDISK,
        Step.WRITE_IMAGE,
        Step.PERSONALISE,
        Step.BOOT_TENANT,
        Step.AWAIT_TENANT,
        Step.OPEN_PORT,
        Step.HAND_OVER,
    ),
    Verb.RECLAIM: (
        Step.SHUT_PORT,
        Step.REACH_BMC,
        Step.POWER_OFF,
        Step.CLOSE_LEASE,
        Step.DISABLE_BMC_USERS,
        Step.ROTATE_BMC_PASSWORD,
        Step.OPEN_BOOT_WINDOW,
        Step.POWER_ON,
        Step.AWAIT_RAMDISK,
    ),
}

RUNS: dict[State, Verb] = {
    State.INSPECTING: Verb.INSPECT,
    State.SANITISING: Verb.SANITISE,
    State.VALIDATING: Verb.VALIDATE,
    State.IMAGING: Verb.IMAGE,
    State.RECLAIMING: Verb.RECLAIM,
}
"""The operation that entering a state starts."""

SLA: dict[State, timedelta] = {
    State.ENROLLED: timedelta(minutes=5),
    State.INSPECTING: timedelta(minutes=30),
    State.SANITISING: timedelta(hours=6),
    State.VALIDATING: timedelta(hours=2),
    State.IMAGING: timedelta(minutes=30),
    State.RECLAIMING: timedelta(minutes=30),
}
"""The longest a server may stay in a state before an incident says that it is stuck."""

IN_POOL = frozenset(
    {
        State.SANITISING,
        State.VALIDATING,
        State.AVAILABLE,
        State.IMAGING,
        State.LEASED,
        State.RECLAIMING,
    }
)
"""States in which a server counts as capacity of its class."""


class Intent(StrEnum):
    """What an operator may ask of a server."""

    NONE = ""
    QUARANTINE = "quarantine"
    REPAIRED = "repaired"
    MAINTAIN = "maintain"
    RESUME = "resume"
    RETIRE = "retire"


REACHED: dict[Intent, frozenset[State]] = {
    Intent.QUARANTINE: frozenset({State.QUARANTINED}),
    Intent.REPAIRED: frozenset({State.INSPECTING, State.RECLAIMING}),
    Intent.MAINTAIN: frozenset({State.MAINTENANCE, State.QUARANTINED}),
    Intent.RESUME: frozenset({State.INSPECTING}),
    Intent.RETIRE: frozenset({State.RETIRED, State.QUARANTINED}),
}
"""An intent is spent when one of these states is entered; until then it waits."""


class OperationState(StrEnum):
    RUNNING = "running"
    PARKED = "parked"
    """Waiting for an operator, or retried slowly; an incident says why."""
    DONE = "done"
    FAILED = "failed"


class StepOutcome(StrEnum):
    """What came of one attempt at a step."""

    RUNNING = "running"
    WAITING = "waiting"
    """It is looked at again when a fact arrives, or after a moment."""
    DONE = "done"
    SKIPPED = "skipped"
    """The operation went on further ahead: what lies between was not needed."""
    BACK = "back"
    """The operation went back to an earlier step, to try again from there."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """It did not come to an end: the provisioner was stopped, or the server's state was left."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the table may look at, as it is now."""

    operation: OperationState | None = None
    """Of the operation that the server's state runs; None before it was started."""
    sanitised: bool = False
    """Every inventoried disk has a certificate newer than its last use, and there is a disk."""
    lease_open: bool = False
    """A lease is bound to the server and not closed."""
    lease_over: bool = False
    """That lease's time has ended, or it was released."""
    ramdisk_silent: bool = False
    """The ramdisk that should be waiting has not reported within its grace period."""
    faulty: bool = False
    """Its health forbids the next lease, and the circuit breaker is not open."""
    bmc_lost: bool = False
    """The BMC refuses us since a tenancy."""
    intent: Intent = Intent.NONE


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
    """its operation is done and its lease goes on"""
    return done(facts) and not over(facts)


def closed_to_quarantine(facts: Facts) -> bool:
    """its operation is done, its lease is closed, and it is to be quarantined"""
    return closed(facts) and facts.intent is Intent.QUARANTINE


def closed_and_faulty(facts: Facts) -> bool:
    """its operation is done, its lease is closed, and its health forbids the next lease"""
    return closed(facts) and facts.faulty


def closed(facts: Facts) -> bool:
    """its operation is done and its lease is closed"""
    return done(facts) and not facts.lease_open


def faulty(facts: Facts) -> bool:
    """its health forbids the next lease"""
    return facts.faulty


def asked(intent: Intent) -> Condition:
    def condition(facts: Facts) -> bool:
        return facts.intent is intent

    condition.__doc__ = f"an operator asks: {intent.value}"
    return condition


def retirable(facts: Facts) -> bool:
    """an operator asks: retire, no lease is bound, and every disk is erased"""
    return facts.intent is Intent.RETIRE and facts.sanitised and not facts.lease_open


def repaired_unreclaimed(facts: Facts) -> bool:
    """an operator says: repaired, and a lease is still open on it or its BMC is lost"""
    return facts.intent is Intent.REPAIRED and (facts.lease_open or facts.bmc_lost)


def over_unprepared(facts: Facts) -> bool:
    """its lease ended before the server was prepared"""
    return facts.lease_open and facts.lease_over


def silent(facts: Facts) -> bool:
    """its ramdisk has fallen silent"""
    return facts.ramdisk_silent


def maintainable(facts: Facts) -> bool:
    """an operator asks: maintain, and no lease is bound"""
    return facts.intent is Intent.MAINTAIN and not facts.lease_open


class Effect(StrEnum):
    """What a transition brings with it, beside the new state and its operation; in words."""

    QUARANTINE = "an incident says why and what to do next"
    QUARANTINE_AFTERWARDS = "it is quarantined once it was taken back, and an incident says why"
    MOVE_LEASE = "a lease that was not handed over moves to another server"
    END_LEASES_TROUBLES = "an outage of the lease and its health incidents end"
    BEGIN_ANEW = "its incident is closed, its health is judged anew, its disks count as used"
    SPEND_CERTIFICATES = "the lease keeps the certificates, and the disks count as used"
    BIND_WAITING = "waiting reservations of its class are bound"


@dataclass(frozen=True, slots=True)
class Transition:
    source: State
    when: Condition
    target: State
    then: tuple[Effect, ...] = ()
    """In this order, after the state was changed."""

    @property
    def condition(self) -> str:
        """The condition in words."""
        return (self.when.__doc__ or "").strip()

    @property
    def for_health(self) -> bool:
        """Whether the circuit breaker may hold it back."""
        return self.when in (faulty, closed_and_faulty)


quarantine = asked(Intent.QUARANTINE)

_QUARANTINED = (Effect.MOVE_LEASE, Effect.QUARANTINE, Effect.BIND_WAITING)

TRANSITIONS: tuple[Transition, ...] = (
    # The first row that holds is due: failures and operators come before progress.
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
    Transition(State.AVAILABLE, silent, State.VALIDATING),
    # Power it off first: what was imaged may be running, with a customer's key in it.
    Transition(
        State.IMAGING,
        failed,
        State.RECLAIMING,
        (Effect.QUARANTINE_AFTERWARDS, Effect.MOVE_LEASE, Effect.BIND_WAITING),
    ),
    Transition(State.IMAGING, over, State.RECLAIMING),
    # Whether it is still at fault after the power cycle is asked again when it is taken back.
    Transition(State.IMAGING, faulty, State.RECLAIMING, (Effect.MOVE_LEASE, Effect.BIND_WAITING)),
    Transition(State.IMAGING, done_with_lease, State.LEASED),
    Transition(State.LEASED, over, State.RECLAIMING, (Effect.END_LEASES_TROUBLES,)),
    Transition(State.RECLAIMING, failed, State.QUARANTINED, _QUARANTINED),
    Transition(State.RECLAIMING, closed_to_quarantine, State.QUARANTINED, _QUARANTINED),
    Transition(State.RECLAIMING, closed_and_faulty, State.QUARANTINED, _QUARANTINED),
    Transition(State.RECLAIMING, closed, State.SANITISING),
    Transition(State.QUARANTINED, repaired_unreclaimed, State.RECLAIMING, (Effect.BEGIN_ANEW,)),
    Transition(State.QUARANTINED, asked(Intent.REPAIRED), State.INSPECTING, (Effect.BEGIN_ANEW,)),
    Transition(State.QUARANTINED, retirable, State.RETIRED),
    Transition(State.MAINTENANCE, quarantine, State.QUARANTINED, _QUARANTINED),
    Transition(State.MAINTENANCE, asked(Intent.RESUME), State.INSPECTING),
    Transition(State.MAINTENANCE, retirable, State.RETIRED),
)


def due(state: State, facts: Facts) -> Transition | None:
    """The transition that is due from `state`, or None when the server stays where it is."""
    for transition in TRANSITIONS:
        if transition.source is state and transition.when(facts):
            return transition
    return None


def intents_for(state: State) -> frozenset[Intent]:
    """What an operator may ask in a state; an intent that no row there answers is refused."""

    def answered(intent: Intent) -> bool:
        idle, asking = Facts(sanitised=True), Facts(sanitised=True, intent=intent)
        return due(state, asking) != due(state, idle)

    return frozenset(intent for intent in Intent if answered(intent))


def next_step(verb: Verb, step: Step) -> Step | None:
    """The step after `step`, or None when it is the last."""
    steps = STEPS[verb]
    position = steps.index(step) + 1
    return steps[position] if position < len(steps) else None


def outcome_of_jump(verb: Verb, step: Step, to: Step) -> StepOutcome:
    """What an operation that goes on at `to` makes of the step that it leaves."""
    steps = STEPS[verb]
    return StepOutcome.SKIPPED if steps.index(to) > steps.index(step) else StepOutcome.BACK
