"""What a server boots when it asks the network: the deploy ramdisk, its disk, or nothing yet.

The ramdisk boots only in a window that the provisioner opened. The disk boots only if it holds the
system of a current lease, or one that an operator installed in maintenance. Every other server is
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
    """Everything that the decision about an enrolled server may depend on."""

    state: State
    window_open: bool = False
    """The provisioner allows one boot of the ramdisk, and it has not happened yet."""
    lease_runs: bool = False
    """A lease is bound to the server and has not ended."""
    at: tuple[Verb, Step] | None = None
    """The running operation and its current step."""
    installed: bool = False
    """An operator has installed a system since maintenance began."""
    other_serial: bool = False
    """The machine reports a serial number other than the server's."""


def boot_target(facts: BootFacts | None) -> BootTarget:
    """Return what a machine boots; facts are None if it is not enrolled."""
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
    """Whether the operation leaves the disk alone, or has finished writing it."""
    steps = STEPS[verb]
    if Step.BOOT_TENANT not in steps:
        return Step.FIND_RAMDISK not in steps
    return steps.index(step) >= steps.index(Step.BOOT_TENANT)
