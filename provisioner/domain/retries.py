"""How often and how fast a failed step is retried, and what happens if it keeps failing."""

from datetime import timedelta
from enum import StrEnum

from provisioner.domain.failures import FailureKind

TRIES: dict[FailureKind, int] = {
    FailureKind.TRANSIENT: 5,
    FailureKind.SERVER_FAULT: 1,
    FailureKind.CONFIGURATION: 1,
    FailureKind.DEFECT: 3,
}
"""Attempts at a step before it is assumed not to succeed by itself."""

BOOTS = 3
"""Power cycles that one operation may spend on reaching the deploy ramdisk."""

PATIENCE = timedelta(seconds=60)
"""Between attempts while an incident is open."""


class Reaction(StrEnum):
    """What follows a failed attempt."""

    RETRY = "retry"
    FIND_RAMDISK = "find_ramdisk"
    """Look for the ramdisk first, or boot it again."""
    PARK = "park"
    """Open an incident, and retry slowly."""
    GIVE_UP = "give_up"
    """End the operation: the server is faulty."""


def reaction(
    kind: FailureKind, attempt: int, *, in_ramdisk: bool, requested: bool = False
) -> Reaction:
    """Return what follows failed attempt number `attempt` (from 1) at a step.

    `in_ramdisk` means that the step needs a live ramdisk. What an operator has to change is never
    the server's fault, however often it occurs. `requested` work is never parked: whoever asked for
    it is told, and may request something else.
    """
    if attempt < TRIES[kind]:
        return Reaction.FIND_RAMDISK if in_ramdisk and attempt > 1 else Reaction.RETRY
    servers_own = kind is FailureKind.TRANSIENT and in_ramdisk
    if kind is FailureKind.SERVER_FAULT or servers_own or requested:
        return Reaction.GIVE_UP
    return Reaction.PARK


def backoff(attempt: int) -> timedelta:
    """Return the pause after failed attempt number `attempt` (from 1): 1, 2, 4, 8, 16 seconds, …"""
    # The least of two numbers: after 47 attempts no timedelta holds the greater one.
    return timedelta(seconds=min(2 ** (attempt - 1), PATIENCE.total_seconds()))
