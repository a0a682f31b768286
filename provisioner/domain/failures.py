"""What can go wrong with a server, and who has to act.

Every driver error is a :class:`Failure`, so that the reconciler can decide by kind alone, and a
person always reads a reason and a next action.
"""

from enum import StrEnum
from typing import ClassVar

from provisioner.domain.storable import clean

_LONGEST = 500
"""Characters of an unexpected exception's text that are shown."""


class FailureKind(StrEnum):
    """Who can fix it: time, a repair, a change of settings, or the developers."""

    TRANSIENT = "transient"
    """Expected to pass (network, busy BMC): retried with backoff."""
    SERVER_FAULT = "server_fault"
    """The server itself: it is quarantined with the evidence."""
    CONFIGURATION = "configuration"
    """A setting is wrong (password, missing image): parked until an operator changes it."""
    DEFECT = "defect"
    """A bug in the provisioner: retried, and parked if it keeps occurring."""


class Failure(Exception):
    """A classified failure: what happened (`reason`) and what to do about it (`next_action`).

    Every subclass has a `code` of its own, stable and for programs, as refusals have.
    """

    code: ClassVar[str] = "failure"
    kind: FailureKind = FailureKind.TRANSIENT

    def __init__(self, reason: str, *, next_action: str, kind: FailureKind | None = None) -> None:
        # Both are stored, and may quote a machine.
        self.reason, self.next_action = clean(reason), clean(next_action)
        super().__init__(self.reason)
        if kind is not None:
            self.kind = kind


def defect(error: Exception) -> Failure:
    """Turn an unexpected exception into a failure with a reason and a next action."""
    text = clean(str(error), _LONGEST)
    return Failure(
        f"defect of the provisioner: {type(error).__name__}: {text}".rstrip(": "),
        next_action="report it, with the traceback from the provisioner's log; it is retried "
        "every minute, and at once after an upgrade",
        kind=FailureKind.DEFECT,
    )
