"""The interface to playbook runs: one playbook against one server, with events as they happen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from provisioner.domain.failures import Failure, FailureKind
from provisioner.drivers.ssh.base import SshTarget


class PlayEventKind(StrEnum):
    TASK = "task"
    OK = "ok"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class PlayEvent:
    """One line of a run's log, readable by people."""

    at: datetime
    kind: PlayEventKind
    task: str
    text: str


OnEvent = Callable[[PlayEvent], None]


class Plays(Protocol):
    async def run(
        self,
        playbook: str,
        target: SshTarget,
        variables: Mapping[str, Any],
        on_event: OnEvent,
        *,
        timeout_s: float,
    ) -> dict[str, Any]:
        """Run `playbooks/<playbook>.yml` and return the merged `ironlease` results of its tasks.

        Cancelling the call ends the run. Raises :class:`PlayFailed` and :class:`PlayUnreachable`; a
        failure that a module classified itself keeps its kind, reason and next action.
        """


class _PlayEnded(Failure):
    """`evidence` is what the run's tasks had found before it failed."""

    code = "play_ended"

    def __init__(self, reason: str, *, next_action: str, kind: FailureKind | None = None) -> None:
        super().__init__(reason, next_action=next_action, kind=kind)
        self.evidence: dict[str, Any] = {}


class PlayFailed(_PlayEnded):
    code = "play_failed"
    kind = FailureKind.SERVER_FAULT


class PlayUnreachable(_PlayEnded):
    code = "play_unreachable"
    kind = FailureKind.TRANSIENT
