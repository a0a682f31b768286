"""What a server that boots from the network is told: the deploy ramdisk, its disk, or wait.

The ramdisk runs only in a window that the provisioner opened, and a disk only while it holds the
system of a lease that goes on; every other server is held, so that nothing old on a disk ever runs.
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
    return BootTarget.DISK if _holds_tenants_system(facts) else BootTarget.HOLD


def _holds_tenants_system(facts: BootFacts) -> bool:
    if not facts.lease_runs:
        return False
    match facts.state:
        case State.LEASED:
            return True
        case State.IMAGING:
            return facts.at is not None and _past_imaging(*facts.at)
        case _:
            return False


def _past_imaging(verb: Verb, step: Step) -> bool:
    """Whether the system was written and may start: the operation has come to BOOT_TENANT."""
    steps = STEPS[verb]
    return Step.BOOT_TENANT in steps[: steps.index(step) + 1]
