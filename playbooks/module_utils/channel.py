"""How a module reports to its run: progress lines and classified failures."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_say: list[Callable[[dict[str, Any]], None]] = []


def connect(say: Callable[[dict[str, Any]], None]) -> None:
    """Set where messages go; `entry.py` does. Unconnected (in tests), progress is dropped."""
    _say[:] = [say]


def progress(text: str) -> None:
    """Write a line to the step's log, at once."""
    for say in _say:
        say({"progress": text})


class Failure(Exception):
    """A classified failure; `result` is evidence worth keeping."""

    kind = "server_fault"

    def __init__(self, reason: str, next_action: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_action = next_action
        self.result = result or {}

    def as_dict(self) -> dict[str, str]:
        return {"kind": self.kind, "reason": self.reason, "next_action": self.next_action}


class ServerFault(Failure):
    """The server is at fault and is quarantined with the evidence."""


class Configuration(Failure):
    """Our input is wrong: an operator has to change it."""

    kind = "configuration"


class Transient(Failure):
    """Expected to pass: the step is tried again."""

    kind = "transient"
