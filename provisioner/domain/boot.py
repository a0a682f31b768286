"""What a server that boots from the network is told: the deploy ramdisk, its disk, or wait.

The ramdisk runs only in a window that the provisioner opened, and a disk only while it holds the
system of a lease that goes on, or one that an operator had written for tests; every other server is
held, so that nothing old on a disk ever runs.
"""

from dataclasses import dataclass
from enum import StrEnum

from provisioner.domain.lifecycle import STEPS, State, Step, Verb


class BootTarget(StrEnum):
    RAMDISK = "ramdisk"
    DISK = "disk"
    HOLD = "hold"
    """Wait in iPXE, and ask again."""


@dataclass(frozen=True, slots=True)
class BootFacts:
    """All that the decision may look at, of a server that is enrolled."""

    state: State
    window_open: bool = False
    """The provisioner allows one boot of the ramdisk, and it has not happened yet."""
    lease_runs: bool = False
    """A lease is bound to the server, and its time has not ended."""
    at: tuple[Verb, Step] | None = None
    """Where the operation stands that runs on the server."""
    installed: bool = False
    """An operator had a system written to it since its maintenance began."""
    other_serial: bool = False
    """The machine gives another serial number than the server's."""


def boot_target(facts: BootFacts | None) -> BootTarget:
    """The answer to a booting machine; None stands for one that nobody enrolled."""
    if facts is None:
        return BootTarget.DISK
    if facts.other_serial:
        return BootTarget.HOLD
    if facts.window_open:
        return BootTarget.RAMDISK
    return BootTarget.DISK if _may_boot_disk(facts) else BootTarget.HOLD


def _may_boot_disk(facts: BootFacts) -> bool:
    verb = facts.at[0] if facts.at else None
    match facts.state:
        case State.LEASED:
            known = facts.lease_runs
        case State.IMAGING:
            known = facts.lease_runs and verb is Verb.IMAGE
        case State.MAINTENANCE:
            known = facts.installed or verb is Verb.INSTALL
        case _:
            return False
    return known and (facts.at is None or _disk_is_whole(*facts.at))


def _disk_is_whole(verb: Verb, step: Step) -> bool:
    """Whether the operation leaves the disk alone, or was written it and may start it."""
    steps = STEPS[verb]
    if Step.BOOT_TENANT not in steps:
        return Step.FIND_RAMDISK not in steps
    return steps.index(step) >= steps.index(Step.BOOT_TENANT)
