"""What can go wrong with a server, and who has to act.

Every driver error is a :class:`Failure`, so that the reconciler can decide by kind alone, and a
person always reads a reason and a next action.
"""

from enum import StrEnum
from typing import ClassVar


class FailureKind(StrEnum):
    """Who can mend it: time, a repair, or a change of settings."""

    TRANSIENT = "transient"
    """Expected to pass (network, busy BMC): tried again with backoff."""
    SERVER_FAULT = "server_fault"
    """The server's own: it is quarantined with the evidence."""
    CONFIGURATION = "configuration"
    """What we were told is wrong (password, missing image): parked until an operator changes it."""


class Failure(Exception):
    """A classified failure: what happened (`reason`) and what to do about it (`next_action`).

    Every subclass has a `code` of its own, stable and for programs, as refusals have.
    """

    code: ClassVar[str] = "failure"
    kind: FailureKind = FailureKind.TRANSIENT

    def __init__(self, reason: str, *, next_action: str, kind: FailureKind | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_action = next_action
        if kind is not None:
            self.kind = kind
