"""What the events of one ansible-runner run say: log lines, the merged result, the failure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from provisioner.domain.failures import FailureKind
from provisioner.drivers.plays.base import PlayEvent, PlayEventKind, PlayFailed, PlayUnreachable

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

_KINDS = {
    "playbook_on_task_start": PlayEventKind.TASK,
    "runner_on_ok": PlayEventKind.OK,
    "runner_on_failed": PlayEventKind.FAILED,
    "runner_on_unreachable": PlayEventKind.UNREACHABLE,
}


@dataclass(slots=True)
class Transcript:
    """Reads a run's events in order."""

    playbook: str
    result: dict[str, Any] = field(default_factory=dict)
    started: bool = False
    finished: bool = False
    failure: PlayFailed | PlayUnreachable | None = None
    _noise: list[str] = field(default_factory=list)

    def read(self, event: Mapping[str, Any]) -> PlayEvent | None:
        """Return an event's log line, if it deserves one. Sets `finished` at the last event."""
        name = event["event"]
        if name == "playbook_on_task_start":
            self.started = True
        if name == "playbook_on_stats":
            self.finished = True
            return None
        if name in _KINDS:
            return self._of_task(_KINDS[name], event)
        text = _COLOUR.sub("", event["text"]).strip()
        if name.startswith("playbook_on_") or name == "runner_on_start" or not text:
            return None
        self._noise.append(text)
        return self._line(PlayEventKind.OUTPUT, event, text)

    def _of_task(self, kind: PlayEventKind, event: Mapping[str, Any]) -> PlayEvent:
        said = dict(event["ironlease"] or {})
        message = str(event["message"] or "")
        task = event["task"]
        match kind:
            case PlayEventKind.TASK:
                return self._line(kind, event, task)
            case PlayEventKind.OK:
                self.result.update(said)
                return self._line(kind, event, f"{task}: done in {event['seconds']:.1f} s")
            case PlayEventKind.UNREACHABLE:
                self.failure = PlayUnreachable(
                    f"the server could not be reached by SSH: {message}",
                    next_action="look at the server's serial console",
                )
            case _:
                failure = said.pop("failure", None)
                self.result.update(said)
                self.failure = _failure(self.playbook, task, message, failure)
        return self._line(kind, event, self.failure.reason)

    @staticmethod
    def _line(kind: PlayEventKind, event: Mapping[str, Any], text: str) -> PlayEvent:
        created = event["created"]
        at = datetime.fromisoformat(created) if created else datetime.now(UTC)
        return PlayEvent(at, kind, event["task"], text)

    def outcome(self, exit_note: str) -> dict[str, Any]:
        """Return the merged result. Raises the run's failure; a run without events failed too."""
        if self.failure is not None:
            self.failure.evidence = self.result
            raise self.failure
        if not self.finished:
            said = "; ".join(self._noise[-5:])
            raise PlayFailed(
                f"the run of {self.playbook}.yml ended early ({exit_note}): {said}",
                next_action="read the run's files in the provisioner's data directory",
                kind=FailureKind.CONFIGURATION,
            )
        return self.result


def _failure(
    playbook: str, task: str, message: str, classified: Mapping[str, str] | None
) -> PlayFailed:
    if classified is None:
        return PlayFailed(
            f"{playbook}.yml failed at {task!r}: {message}",
            next_action="read the step's log; repair the server, or report a bug in the playbook",
        )
    return PlayFailed(
        classified["reason"],
        next_action=classified["next_action"],
        kind=FailureKind(classified["kind"]),
    )
