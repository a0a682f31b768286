"""Following through dropped connections, against a scripted service."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from provisioner.rackctl.client import Api, ServerSentEvent
from provisioner.rackctl.errors import ApiRefusal, RackctlError, Unreachable, WaitTimeout
from provisioner.rackctl.follow import PATIENCE_S, operation_events, reservation_states

RUNNING = {"id": "op_1", "state": "running", "verb": "inspect", "step": "power_on"}
DONE = {**RUNNING, "state": "done"}
DROPPED = Unreachable("connection lost")


def line(number: int) -> ServerSentEvent:
    return ServerSentEvent(
        "log", {"id": f"log_{number}", "step": "power_on", "text": f"line {number}"}
    )


class ScriptedApi(Api):
    """Plays one list of events or errors per connection, and answers questions from the script."""

    def __init__(
        self,
        *streams: list[ServerSentEvent | RackctlError],
        operation: Callable[[], dict[str, Any]] = lambda: RUNNING,
        log: list[dict[str, Any]] | None = None,
    ) -> None:
        self._streams = list(streams)
        self._operation = operation
        self._log = log or []
        self.resumed_after: list[str] = []
        self.silences: list[float] = []

    def events(
        self, address: str, *, after: str = "", silence_s: float = 60.0
    ) -> Iterator[ServerSentEvent]:
        self.resumed_after.append(after)
        self.silences.append(silence_s)
        for item in self._streams.pop(0) if self._streams else [DROPPED]:
            if isinstance(item, RackctlError):
                raise item
            yield item

    def call(self, method: str, address: str, **request: Any) -> dict[str, Any]:
        if address.endswith("/log"):
            after = request["parameters"]["after"] or ""
            return {"items": [e for e in self._log if e["id"] > after], "next": None}
        return self._operation()


class FakeTime:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def follow(api: Api, time: FakeTime | None = None) -> list[ServerSentEvent]:
    time = time or FakeTime()
    return list(operation_events(api, "op_1", pause=time.pause, clock=time.clock))


def texts(events: list[ServerSentEvent]) -> list[str]:
    return [event.data.get("text") or event.data["state"] for event in events]


def test_an_operation_is_followed_to_its_end() -> None:
    api = ScriptedApi(
        [
            ServerSentEvent("operation", RUNNING),
            line(1),
            line(2),
            ServerSentEvent("operation", DONE),
        ]
    )

    assert texts(follow(api)) == ["running", "line 1", "line 2", "done"]


def test_a_dropped_stream_goes_on_after_the_last_line() -> None:
    api = ScriptedApi(
        [line(1), line(2), DROPPED],
        [line(3), ServerSentEvent("operation", DONE)],
    )

    assert texts(follow(api)) == ["line 1", "line 2", "line 3", "done"]
    assert api.resumed_after == ["", "log_2"]


def test_a_line_sent_twice_is_shown_once() -> None:
    api = ScriptedApi(
        [line(1), line(2), DROPPED], [line(2), line(3), ServerSentEvent("operation", DONE)]
    )

    assert texts(follow(api)) == ["line 1", "line 2", "line 3", "done"]


def test_an_operation_that_ended_while_nothing_answered_is_completed_from_its_log() -> None:
    log = [line(1).data, line(2).data, line(3).data]
    api = ScriptedApi([line(1), DROPPED], operation=lambda: DONE, log=log)

    assert texts(follow(api)) == ["line 1", "line 2", "line 3", "done"]


def test_a_service_that_restarts_is_waited_for_with_growing_pauses() -> None:
    time = FakeTime()
    restarting: list[ServerSentEvent | RackctlError] = [ApiRefusal("bad gateway", status=502)]

    def silent() -> dict[str, Any]:
        raise DROPPED

    api = ScriptedApi([line(1), DROPPED], restarting, restarting, operation=silent)
    with pytest.raises(Unreachable):
        follow(api, time)

    assert PATIENCE_S < time.now - 1000.0 < 2 * PATIENCE_S
    assert sorted(time.pauses) == time.pauses


def test_a_long_quiet_operation_survives_one_lost_connection() -> None:
    time = FakeTime()

    class Quiet(ScriptedApi):
        def events(
            self, address: str, *, after: str = "", silence_s: float = 60.0
        ) -> Iterator[ServerSentEvent]:
            time.now += 100 * PATIENCE_S
            yield from super().events(address, after=after)

    api = Quiet([DROPPED], [DROPPED], [ServerSentEvent("operation", DONE)])

    assert texts(follow(api, time)) == ["done"]


def test_a_refusal_is_not_tried_again() -> None:
    api = ScriptedApi([ApiRefusal("no operation 'op_1'", status=404)])

    with pytest.raises(ApiRefusal):
        follow(api)
    assert api.resumed_after == [""]


def test_waiting_for_a_reservation_ends_in_time() -> None:
    time = FakeTime()
    waiting = ServerSentEvent("reservation", {"id": "res_1", "lease": None})
    api = ScriptedApi(*[[waiting, DROPPED] for _ in range(100)])

    with pytest.raises(WaitTimeout) as ended:
        for _ in reservation_states(
            api, "res_1", timeout_s=20.0, pause=time.pause, clock=time.clock
        ):
            time.now += 1.0

    assert "rackctl reservation show res_1" in ended.value.next_action
    # The service's comments come every 15 s: a stream that waits longer would outlive its deadline.
    assert max(api.silences) < 15
