"""Requests that cannot be granted: each says what is wrong, where, and what to do instead."""

from dataclasses import dataclass
from enum import StrEnum


class RefusalKind(StrEnum):
    INVALID = "invalid"
    """The request itself is wrong and can never be granted as it is."""
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    """It conflicts with the current state; it may be granted later."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One error in a request. `pointer` is an RFC 6901 JSON pointer into its body."""

    pointer: str
    reason: str


class Refusal(Exception):
    """A request refused as a whole; nothing was changed.

    `code` is stable and for programs (`no_capacity`); `reason` and `next_action` are for people.
    """

    def __init__(
        self,
        kind: RefusalKind,
        code: str,
        reason: str,
        *,
        next_action: str = "",
        faults: tuple[Fault, ...] = (),
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.code = code
        self.reason = reason
        self.next_action = next_action
        self.faults = faults
