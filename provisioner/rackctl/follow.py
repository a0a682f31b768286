"""Follow an operation or a reservation live, across dropped connections.

The service streams server-sent events; a broken stream is reopened after the last log line
received, until the service has been silent for longer than `PATIENCE_S`.
"""

import time
from collections.abc import Callable, Iterator

import httpx

from provisioner.rackctl.client import Api, JsonObject, ServerSentEvent, path
from provisioner.rackctl.errors import ApiRefusal, Unreachable, WaitTimeout

ENDED = frozenset({"done", "failed"})
"""Final states of an operation."""
PATIENCE_S = 60.0
_LONGEST_PAUSE_S = 5.0
_DROPPED_AFTER_S = 60.0
"""A stream without a byte for this long counts as dropped; the service sends a comment every
15 s."""
_LOOK_UP_S = 10.0
"""A quiet stream with a deadline is reopened this often, to check the deadline."""

Pause = Callable[[float], None]
Clock = Callable[[], float]


def operation_events(
    api: Api, operation_id: str, *, pause: Pause = time.sleep, clock: Clock = time.monotonic
) -> Iterator[ServerSentEvent]:
    """`log` events, each line once and in order, and `operation` events until the operation ends.

    The last event is always the ended operation. Raises Unreachable when the service stays down.
    """
    last = ""
    ended: JsonObject | None = None
    stream = _Reconnecting(api, path("operations", operation_id, "events"), pause, clock)
    while ended is None:
        for event in stream.once(after=last):
            if event.name == "log" and event.data["id"] > last:
                last = event.data["id"]
                yield event
            elif event.name == "operation":
                if event.data["state"] in ENDED:
                    ended = event.data
                    break
                yield event
        if ended is None:
            # The stream broke, or it began after the end.
            operation = stream.ask(path("operations", operation_id))
            ended = operation if operation and operation["state"] in ENDED else None
    for line in api.items(path("operations", operation_id, "log"), {"after": last or None}):
        yield ServerSentEvent("log", line)
    yield ServerSentEvent("operation", ended)


def reservation_states(
    api: Api,
    reservation_id: str,
    *,
    timeout_s: float,
    until: str = "it was ready",
    pause: Pause = time.sleep,
    clock: Clock = time.monotonic,
) -> Iterator[JsonObject]:
    """The reservation at every change, until the caller has seen enough: `until` says what.

    Raises WaitTimeout after `timeout_s`, Unreachable when the service stays down.
    """
    deadline = clock() + timeout_s
    stream = _Reconnecting(api, path("reservations", reservation_id, "events"), pause, clock)
    while True:
        for event in stream.once(until=deadline):
            if event.name == "reservation":
                yield event.data
        if clock() >= deadline:
            raise WaitTimeout(
                f"{reservation_id}: timed out before {until}; the provisioner continues with it",
                next_action=f"check it with: rackctl reservation show {reservation_id}",
            )


class _Reconnecting:
    """Reopens a stream, with growing pauses while nothing answers."""

    def __init__(self, api: Api, address: str, pause: Pause, clock: Clock) -> None:
        self._api = api
        self._address = address
        self._pause = pause
        self._clock = clock
        self._missed_since: float | None = None
        self._delay_s = 0.0

    def once(self, *, after: str = "", until: float | None = None) -> Iterator[ServerSentEvent]:
        """The events of one connection; ends silently when it breaks."""
        silence_s = _DROPPED_AFTER_S
        if until is not None:
            silence_s = max(0.1, min(_LOOK_UP_S, until - self._clock()))
        try:
            for event in self._api.events(self._address, after=after, silence_s=silence_s):
                self._heard()
                yield event
        except (Unreachable, ApiRefusal) as error:
            self._missed(error)
        self._rest()

    def ask(self, address: str) -> JsonObject | None:
        """A plain request in between; None when there is no answer."""
        try:
            answer = self._api.get(address)
        except (Unreachable, ApiRefusal) as error:
            self._missed(error)
            return None
        self._heard()
        return answer

    def _heard(self) -> None:
        self._missed_since = None
        self._delay_s = 0.0

    def _missed(self, error: Unreachable | ApiRefusal) -> None:
        """Raises errors that will not pass, and those that have lasted too long."""
        if isinstance(error, ApiRefusal) and error.status < httpx.codes.INTERNAL_SERVER_ERROR:
            raise error
        now = self._clock()
        self._missed_since = self._missed_since or now
        if now - self._missed_since > PATIENCE_S:
            raise error

    def _rest(self) -> None:
        """Pauses, longer after every connection without an event."""
        self._pause(self._delay_s)
        self._delay_s = min(_LONGEST_PAUSE_S, self._delay_s * 2 or 0.25)
