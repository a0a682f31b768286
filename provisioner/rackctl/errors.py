"""What ends a command early, and the exit code that it ends with."""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of rackctl; stable, for scripts."""

    OK = 0
    REFUSED = 1
    """The service refused, or what was followed or waited for failed."""
    USAGE = 2
    """The command line, the configuration or an input file is wrong; nothing was sent."""
    UNREACHABLE = 3
    """The service did not answer."""
    TIMEOUT = 4
    """`--wait` ran out of time; what was asked for goes on."""


class RackctlError(Exception):
    """Ends the command: a reason for a person, what to do next, and details line by line."""

    exit_code = ExitCode.REFUSED

    def __init__(self, reason: str, *, next_action: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_action = next_action
        self.details = tuple(details)


class UsageFault(RackctlError):
    """The command line, the configuration or an input file is wrong."""

    exit_code = ExitCode.USAGE


class Failed(RackctlError):
    """What was followed or waited for did not succeed."""


class WaitTimeout(RackctlError):
    """What was waited for did not happen in the time given; it goes on in the provisioner."""

    exit_code = ExitCode.TIMEOUT


class Unreachable(RackctlError):
    """The service did not answer."""

    exit_code = ExitCode.UNREACHABLE


class ApiRefusal(RackctlError):
    """The service refused: an RFC 9457 problem. `faults` are its (JSON pointer, reason) pairs."""

    def __init__(
        self,
        reason: str,
        *,
        status: int,
        code: str = "",
        next_action: str = "",
        faults: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(
            reason,
            next_action=next_action,
            details=[f"{pointer}: {why}" if pointer else why for pointer, why in faults],
        )
        self.status = status
        self.code = code
        self.faults = tuple(faults)
