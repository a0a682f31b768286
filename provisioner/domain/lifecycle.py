"""The vocabulary of a server's lifecycle: states, the requests that each allows, and the steps of
every operation. `transitions.py` decides when the state changes.
"""

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
    REINSTALL = "reinstall"
    """Reinstall a leased server for the same tenant."""
    INSTALL = "install"
    """Install a system for an operator on a server in maintenance."""
    STOP = "stop"
    START = "start"
    REBOOT = "reboot"
    POWER_OFF = "power_off"
    POWER_CYCLE = "power_cycle"
    RESET = "reset"


class Step(StrEnum):
    FIND_RAMDISK = "find_ramdisk"
    POWER_OFF = "power_off"
    OPEN_BOOT_WINDOW = "open_boot_window"
    POWER_ON = "power_on"
    AWAIT_RAMDISK = "await_ramdisk"
    COLLECT_FACTS = "collect_facts"
    SANITISE_DISKS = "sanitise_disks"
    CHECK_HARDWARE = "check_hardware"
    AWAIT_VERDICT = "await_verdict"
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
    SHUT_DOWN = "shut_down"
    SWITCH_ON = "switch_on"
    RESET = "reset"


RAMDISK = (
    Step.FIND_RAMDISK,
    Step.POWER_OFF,
    Step.OPEN_BOOT_WINDOW,
    Step.POWER_ON,
    Step.AWAIT_RAMDISK,
)
"""Steps to a running deploy ramdisk; the first skips the rest if one is already waiting."""

_IMAGE = (
    *RAMDISK,
    Step.WRITE_IMAGE,
    Step.PERSONALISE,
    Step.BOOT_TENANT,
    Step.AWAIT_TENANT,
)

STEPS: dict[Verb, tuple[Step, ...]] = {
    Verb.INSPECT: (*RAMDISK, Step.COLLECT_FACTS),
    Verb.SANITISE: (*RAMDISK, Step.SANITISE_DISKS),
    Verb.VALIDATE: (*RAMDISK, Step.CHECK_HARDWARE, Step.AWAIT_VERDICT),
    Verb.IMAGE: (*_IMAGE, Step.OPEN_PORT, Step.HAND_OVER),
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
    Verb.REINSTALL: (*_IMAGE, Step.OPEN_PORT, Step.HAND_OVER),
    Verb.INSTALL: _IMAGE,
    Verb.STOP: (Step.SHUT_DOWN,),
    Verb.START: (Step.SWITCH_ON, Step.OPEN_PORT),
    Verb.REBOOT: (Step.SHUT_DOWN, Step.SWITCH_ON, Step.OPEN_PORT),
    Verb.POWER_OFF: (Step.POWER_OFF,),
    Verb.POWER_CYCLE: (Step.POWER_OFF, Step.SWITCH_ON, Step.OPEN_PORT),
    Verb.RESET: (Step.RESET,),
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
"""The longest that a server may stay in a state before an incident reports it as stuck."""

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


class RequestVerb(StrEnum):
    """What may be requested of a server."""

    QUARANTINE = "quarantine"
    REPAIRED = "repaired"
    MAINTAIN = "maintain"
    RESUME = "resume"
    RETIRE = "retire"
    VALIDATE = "validate"
    SANITISE = "sanitise"
    IMAGE = "image"
    STOP = "stop"
    """Shut down; cut the power if that takes too long."""
    START = "start"
    REBOOT = "reboot"
    """Shut down as `stop` does, then switch on."""
    POWER_OFF = "power_off"
    POWER_CYCLE = "power_cycle"
    """Cut the power at once, then switch on."""
    RESET = "reset"
    REINSTALL = "reinstall"


REACHED: dict[RequestVerb, frozenset[State]] = {
    RequestVerb.QUARANTINE: frozenset({State.QUARANTINED}),
    RequestVerb.REPAIRED: frozenset({State.INSPECTING, State.RECLAIMING}),
    RequestVerb.MAINTAIN: frozenset({State.MAINTENANCE}),
    RequestVerb.RESUME: frozenset({State.INSPECTING}),
    RequestVerb.RETIRE: frozenset({State.RETIRED}),
}
"""A request for a state waits until the server enters one of these; then it is done."""

OPERATIONS: dict[RequestVerb, Verb] = {
    RequestVerb.VALIDATE: Verb.VALIDATE,
    RequestVerb.SANITISE: Verb.SANITISE,
    RequestVerb.IMAGE: Verb.INSTALL,
    RequestVerb.STOP: Verb.STOP,
    RequestVerb.START: Verb.START,
    RequestVerb.REBOOT: Verb.REBOOT,
    RequestVerb.POWER_OFF: Verb.POWER_OFF,
    RequestVerb.POWER_CYCLE: Verb.POWER_CYCLE,
    RequestVerb.RESET: Verb.RESET,
    RequestVerb.REINSTALL: Verb.REINSTALL,
}
"""The operation that carries out a request without leaving the server's state."""

_TENANTS = frozenset(
    {RequestVerb.STOP, RequestVerb.START, RequestVerb.REBOOT, RequestVerb.POWER_CYCLE}
)
_POWER = _TENANTS | {RequestVerb.POWER_OFF, RequestVerb.RESET}

ALLOWED: dict[State, frozenset[RequestVerb]] = {
    State.ENROLLED: frozenset({RequestVerb.QUARANTINE}),
    State.INSPECTING: frozenset({RequestVerb.QUARANTINE}),
    State.SANITISING: frozenset({RequestVerb.QUARANTINE}),
    State.VALIDATING: frozenset({RequestVerb.QUARANTINE}),
    State.AVAILABLE: frozenset({RequestVerb.QUARANTINE, RequestVerb.MAINTAIN, RequestVerb.RETIRE}),
    State.IMAGING: frozenset(),
    State.LEASED: _TENANTS | {RequestVerb.REINSTALL},
    State.RECLAIMING: frozenset({RequestVerb.QUARANTINE}),
    State.QUARANTINED: _POWER | {RequestVerb.REPAIRED, RequestVerb.RETIRE},
    State.MAINTENANCE: _POWER
    | {
        RequestVerb.QUARANTINE,
        RequestVerb.RESUME,
        RequestVerb.RETIRE,
        RequestVerb.VALIDATE,
        RequestVerb.SANITISE,
        RequestVerb.IMAGE,
    },
    State.RETIRED: frozenset(),
}
"""What may be requested in each state. In any other state a waiting request is skipped."""


class RequestOutcome(StrEnum):
    """What became of a request."""

    WAITING = "waiting"
    TAKEN = "taken"
    """Its operation runs."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """Another request replaced it, or the server left the state that allowed it."""


class OperationState(StrEnum):
    RUNNING = "running"
    PARKED = "parked"
    """Waiting for an operator, or retried slowly; an incident says why."""
    DONE = "done"
    FAILED = "failed"


class StepOutcome(StrEnum):
    """The outcome of one attempt at a step."""

    RUNNING = "running"
    WAITING = "waiting"
    """It is checked again when a fact arrives, or after a moment."""
    DONE = "done"
    SKIPPED = "skipped"
    """The operation jumped ahead: the steps in between were not needed."""
    BACK = "back"
    """The operation went back to an earlier step, to try again from there."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """It did not finish: the provisioner stopped, or the server left the state."""


def next_step(verb: Verb, step: Step) -> Step | None:
    """Return the step after `step`, or None if it is the last."""
    steps = STEPS[verb]
    position = steps.index(step) + 1
    return steps[position] if position < len(steps) else None


def outcome_of_jump(verb: Verb, step: Step, to: Step) -> StepOutcome:
    """Return the outcome of `step` when the operation continues at `to` instead."""
    steps = STEPS[verb]
    return StepOutcome.SKIPPED if steps.index(to) > steps.index(step) else StepOutcome.BACK
