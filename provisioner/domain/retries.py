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
"""Attempts at a step before it is assumed that retrying alone will not help."""

BOOTS = 3
"""Power cycles that one operation may spend on reaching the deploy ramdisk."""

PATIENCE = timedelta(seconds=60)
"""The pause between attempts while an incident is open."""


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

    `in_ramdisk` means that the step needs a live ramdisk. A wrong configuration is never blamed on
    the server, however often it occurs. `requested` work is never parked: it fails, and whoever
    requested it may try something else.
    """
    if attempt < TRIES[kind]:
        return Reaction.FIND_RAMDISK if in_ramdisk and attempt > 1 else Reaction.RETRY
    servers_own = kind is FailureKind.TRANSIENT and in_ramdisk
    if kind is FailureKind.SERVER_FAULT or servers_own or requested:
        return Reaction.GIVE_UP
    return Reaction.PARK


def backoff(attempt: int) -> timedelta:
    """Return the pause after failed attempt number `attempt` (from 1): 1, 2, 4, 8, 16 seconds, …"""
    # Compare numbers, not timedeltas: after 47 attempts no timedelta can hold the pause.
    return timedelta(seconds=min(2 ** (attempt - 1), PATIENCE.total_seconds()))
