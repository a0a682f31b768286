"""How a module talks to its run: progress lines, and failures that say whose they are."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_say: list[Callable[[dict[str, Any]], None]] = []


def connect(say: Callable[[dict[str, Any]], None]) -> None:
    """Set by `entry.py`: where messages go. Unconnected (in tests), progress is dropped."""
    _say[:] = [say]


def progress(text: str) -> None:
    """A line for the step's log, shown at once."""
    for say in _say:
        say({"progress": text})


class Failure(Exception):
    """A classified failure; `result` is evidence that is worth keeping all the same."""

    kind = "server_fault"

    def __init__(self, reason: str, next_action: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_action = next_action
        self.result = result or {}

    def as_dict(self) -> dict[str, str]:
        return {"kind": self.kind, "reason": self.reason, "next_action": self.next_action}


class ServerFault(Failure):
    """The server's own: it is quarantined with the evidence."""


class Configuration(Failure):
    """What we were told is wrong: an operator has to change it."""

    kind = "configuration"


class Transient(Failure):
    """Expected to pass: tried again."""

    kind = "transient"
