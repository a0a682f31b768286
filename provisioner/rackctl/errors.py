"""Errors that end a command early, and its exit codes."""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of rackctl. They are stable, for scripts."""

    OK = 0
    REFUSED = 1
    """The service refused, or the thing followed or waited for failed."""
    USAGE = 2
    """The command line, the configuration or an input file is wrong; nothing was sent."""
    UNREACHABLE = 3
    """The service did not answer."""
    TIMEOUT = 4
    """Waiting timed out; the request itself continues."""
    PARTIAL = 5
    """Of several servers, some failed and others did not."""
    INTERRUPTED = 130
    """Ctrl-C while waiting; the request itself continues."""


class RackctlError(Exception):
    """Ends the command, with a readable reason, the next action, and details line by line."""

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
    """The thing followed or waited for did not succeed."""


class WaitTimeout(RackctlError):
    """The wait timed out; the provisioner continues."""

    exit_code = ExitCode.TIMEOUT


class Interrupted(RackctlError):
    """Ctrl-C while waiting; the provisioner continues."""

    exit_code = ExitCode.INTERRUPTED


class SomeFailed(RackctlError):
    """Work on several servers failed on some or all of them, each for its own reason."""

    def __init__(self, reason: str, exit_code: ExitCode) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class Unreachable(RackctlError):
    """The service did not answer."""

    exit_code = ExitCode.UNREACHABLE


class ApiRefusal(RackctlError):
    """The service refused, with an RFC 9457 problem. `faults` are (JSON pointer, reason) pairs."""

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
