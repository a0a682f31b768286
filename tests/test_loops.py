"""The engine of background work: loops continue whatever their turns raise, and show status."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.loops import Driver, Loop
from provisioner.store.database import DatabaseUnavailable

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PATIENCE_S = 60
NEVER = timedelta(days=1)


class Scripted(Loop):
    """Does what the script says, one entry a turn, and turns on at once until it is at its end."""

    name: ClassVar[str] = "scripted"

    def __init__(
        self,
        script: list[BaseException | None] = [],  # noqa: B006  # never changed
        *,
        period: timedelta = NEVER,
        concurrency: int = 4,
    ) -> None:
        super().__init__(period=period, clock=lambda: NOW, concurrency=concurrency)
        self.script = script
        self.turned = 0
        self.played = asyncio.Event()
        self.closed = False

    async def turn(self, now: datetime) -> None:
        assert now == NOW
        self.turned += 1
        if self.turned > len(self.script):
            self.played.set()
            return
        self.wake.set()
        if (error := self.script[self.turned - 1]) is not None:
            raise error

    async def close(self) -> None:
        await super().close()
        self.closed = True


async def play(*loops: Scripted) -> None:
    """Run them until each is at the end of its script."""
    async with Driver().running(*loops), asyncio.timeout(PATIENCE_S):
        for loop in loops:
            await loop.played.wait()


RAISED = st.one_of(
    st.none(),
    st.sampled_from([RuntimeError, ValueError, OSError, KeyError, AssertionError]).map(
        lambda kind: kind("a defect")
    ),
    st.builds(DatabaseUnavailable, st.just("away")),
    st.builds(asyncio.CancelledError),
    st.builds(TimeoutError),
    st.builds(lambda: ExceptionGroup("several", [ValueError("a"), OSError("b")])),
)


@given(script=st.lists(RAISED, max_size=6))
def test_whatever_a_turn_raises_its_loop_goes_on_and_so_do_the_others(
    script: list[BaseException | None],
) -> None:
    async def run() -> None:
        bad, good = Scripted(script), Scripted([None] * 3)
        await play(bad, good)
        assert bad.status.turns >= len(script) + 1
        assert bad.status.failures == sum(error is not None for error in script)
        assert good.status.failures == 0

    asyncio.run(run())


async def test_a_loop_turns_when_its_period_is_over() -> None:
    class Patient(Scripted):
        async def turn(self, now: datetime) -> None:
            self.turned += 1
            if self.turned == 3:
                self.played.set()

    await play(Patient(period=timedelta(0)))


async def test_a_loop_that_is_woken_turns_before_its_period_is_over() -> None:
    loop = Scripted()
    async with Driver().running(loop), asyncio.timeout(PATIENCE_S):
        await loop.played.wait()
        loop.played.clear()
        loop.wake.set()
        await loop.played.wait()
    assert loop.turned == 2


async def test_a_defect_is_logged_once_with_its_trace_until_it_has_passed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = ValueError("bad")
    await play(Scripted([bad, bad, bad, None, bad]))
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(records) == 2
    assert all(record.exc_info is not None for record in records)
    assert "scripted" in records[0].message


async def test_another_defect_in_between_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    await play(Scripted([ValueError("bad"), KeyError("worse")]))
    assert len(caplog.records) == 2


async def test_an_outage_of_the_database_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    loop = Scripted([DatabaseUnavailable("the database is away")])
    await play(loop)
    assert caplog.records == [], "the database's own log line says it"
    assert loop.status.error == "the database is away"


async def test_a_status_tells_the_last_turn_and_the_last_error() -> None:
    loop = Scripted([ValueError("bad")])
    assert loop.status.turned_at is None
    await play(loop)
    status = loop.status
    assert (status.turns, status.failures, status.turned_at) == (2, 1, NOW)
    assert status.took_s is not None
    assert (status.error, status.error_at) == ("scripted: ValueError: bad", NOW)
    assert not status.failing, "it has passed"


async def test_a_status_tells_that_the_last_turn_failed() -> None:
    loop = Scripted([ValueError("bad")] * 2)
    with loop.status.turning():
        await loop.turn(NOW)
    assert loop.status.failing


async def test_a_driver_knows_the_loops_that_run() -> None:
    driver, loop = Driver(), Scripted()
    async with driver.running(loop):
        assert driver.statuses == [loop.status]
    assert driver.statuses == []


async def test_a_loop_is_closed_when_it_is_stopped_and_its_workers_have_ended() -> None:
    loop, ended = Scripted(), asyncio.Event()
    async with Driver().running(loop):
        await loop.played.wait()
        loop.workers.start("row", _until_cancelled(ended))
        await asyncio.sleep(0)
    assert loop.closed
    assert ended.is_set()


async def test_a_loop_that_is_woken_at_the_moment_of_its_end_ends() -> None:
    loop = Scripted()
    async with asyncio.timeout(PATIENCE_S), Driver().running(loop):
        await loop.played.wait()
        await asyncio.sleep(0)
        loop.wake.set()
    assert loop.closed


async def test_a_loop_whose_turn_swallows_its_cancellation_ends() -> None:
    class Careless(Scripted):
        async def turn(self, now: datetime) -> None:
            self.played.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    loop = Careless()
    async with asyncio.timeout(PATIENCE_S), Driver().running(loop):
        await loop.played.wait()
    assert loop.closed


async def test_a_defect_at_the_end_of_one_loop_leaves_the_others_their_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stubborn(Scripted):
        async def close(self) -> None:
            raise OSError("cannot end")

    loop = Scripted()
    async with Driver().running(Stubborn(), loop):
        await loop.played.wait()
    assert loop.closed
    assert "the end of scripted" in caplog.text


class Rows(Scripted):
    """Starts a worker on each due row."""

    def __init__(self, work: Callable[[str], Awaitable[None]], *rows: str, limit: int = 2) -> None:
        super().__init__(concurrency=limit)
        self.due = list(rows)
        self.work = work
        self.most = 0

    async def turn(self, now: datetime) -> None:
        due, self.due = self.due[: self.workers.free], self.due[self.workers.free :]
        for row in due:
            self.workers.start(row, self._on(row))
        self.most = max(self.most, len(self.workers))

    async def _on(self, row: str) -> None:
        await self.work(row)


async def test_a_defect_in_one_row_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = []

    async def work(row: str) -> None:
        await asyncio.sleep(0)
        if row == "bad":
            raise ValueError("this row")
        done.append(row)

    loop = Rows(work, "one", "bad", "two", "three", "bad")
    await loop.settle()
    assert sorted(done) == ["one", "three", "two"]
    assert loop.most == 2, "no more at once than may be"
    assert loop.status.failures == 2
    assert [record.message.split()[-1] for record in caplog.records] == ["bad"], "logged once"


async def test_when_a_worker_ends_of_as_many_as_may_run_the_next_row_is_begun_at_once() -> None:
    async def work(row: str) -> None:
        if row == "last":
            loop.played.set()

    loop = Rows(work, "first", "second", "third", "last", limit=1)
    await play(loop)


async def test_what_settles_passes_an_error_of_a_turn_on() -> None:
    with pytest.raises(ValueError, match="bad"):
        await Scripted([ValueError("bad")]).settle()


async def _until_cancelled(ended: asyncio.Event) -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    ended.set()
