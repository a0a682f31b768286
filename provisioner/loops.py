"""The engine of all background work: loops, and the driver that runs them.

A loop defines one turn. The driver runs it when its period is over or its `wake` is set, continues
whatever a turn raises, and keeps each loop's status for operators. Work on rows that takes longer
than a turn runs in parallel (:class:`Workers`).
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar

from provisioner.store.columns import utc_now
from provisioner.store.database import DatabaseUnavailable

log = logging.getLogger(__name__)

Contained = Callable[[str], AbstractContextManager[None]]
"""Wraps the work on one of several subjects: :meth:`LoopStatus.contained`."""
Kind = tuple[type[BaseException], str, int]
"""What makes two defects the same: the type, and the line that raised it."""


class LoopStatus:
    """A loop's status, as `/metrics` and `rackctl status` show it."""

    def __init__(self, name: str, period: timedelta, clock: Callable[[], datetime]) -> None:
        self.name = name
        self.period_s = period.total_seconds()
        self.turns = 0
        """Turns that have ended, successful or not."""
        self.failures = 0
        """Failures so far, of turns and of work on single rows."""
        self.failing = False
        """Whether the last turn failed."""
        self.turned_at: datetime | None = None
        """When the last turn began."""
        self.took_s: float | None = None
        """How long the last turn that ended took."""
        self.error = ""
        """The last error, even after it has passed."""
        self.error_at: datetime | None = None
        self._clock = clock
        self._defects: dict[str, Kind] = {}

    @contextmanager
    def contained(self, subject: str) -> Iterator[None]:
        """Keep a defect in the work on `subject` from ending any other work.

        It is logged once, with its traceback, until that work succeeds. A database outage is not a
        defect: raises DatabaseUnavailable.
        """
        try:
            yield
        except DatabaseUnavailable as outage:
            self._failed(str(outage))
            raise
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            self._defect(subject, error)  # something that it awaited was cancelled
        except Exception as error:
            self._defect(subject, error)
        else:
            self._defects.pop(subject, None)

    def is_failing(self, subject: str) -> bool:
        """Whether the last work on this subject ended with a defect."""
        return subject in self._defects

    @contextmanager
    def turning(self) -> Iterator[None]:
        """Wrap one turn: record when it ran, how long it took, and whether it failed."""
        began = time.monotonic()
        self.turned_at = self._clock()
        try:
            with self.contained(self.name):
                yield
            self.failing = self.is_failing(self.name)
        except DatabaseUnavailable:
            self.failing = True  # the database has logged it
        finally:
            self.took_s = time.monotonic() - began
            self.turns += 1

    def _defect(self, subject: str, error: BaseException) -> None:
        self._failed(f"{subject}: {type(error).__name__}: {error}")
        kind = _kind_of(error)
        if self._defects.get(subject) != kind:
            self._defects[subject] = kind
            log.error("%s: unexpected error in the work on %s", self.name, subject, exc_info=error)

    def _failed(self, error: str) -> None:
        self.failures += 1
        self.error, self.error_at = error, self._clock()


def _is_cancelled() -> bool:
    """Whether the running task itself is cancelled, not only something that it awaits."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _kind_of(error: BaseException) -> Kind:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error), "", 0
    return type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno


class Workers:
    """Works on a limited number of rows at once. A defect in one row does not affect others."""

    def __init__(self, limit: int, status: LoopStatus, wake: asyncio.Event) -> None:
        self._limit = limit
        self._status = status
        self._wake = wake
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def free(self) -> int:
        """How many more may start."""
        return self._limit - len(self._tasks)

    def start(self, row_id: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._contained(row_id, work))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def join(self) -> None:
        """Wait until all started work has ended."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.join()

    async def _contained(self, row_id: str, work: Coroutine[Any, Any, None]) -> None:
        with suppress(DatabaseUnavailable), self._status.contained(row_id):
            await work

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self.free <= 0:
            self._wake.set()  # more may be due than could be started
        self._tasks.discard(task)


class Loop(ABC):
    """A background task that runs turn by turn."""

    name: ClassVar[str]

    def __init__(
        self,
        *,
        period: timedelta,
        clock: Callable[[], datetime] = utc_now,
        wake: asyncio.Event | None = None,
        concurrency: int = 0,
    ) -> None:
        self.period = period
        """The longest pause between two turns."""
        self.clock = clock
        self.wake = wake or asyncio.Event()
        """Set it when there is something to do, and the next turn runs at once."""
        self.status = LoopStatus(self.name, period, clock)
        self.workers = Workers(concurrency, self.status, self.wake)

    @abstractmethod
    async def turn(self, now: datetime) -> None:
        """Do what is due, or start workers on it as the last step. It may raise anything and be
        cancelled anywhere: the next turn finds what is left."""

    async def close(self) -> None:
        """Clean up after the last turn."""
        await self.workers.cancel()

    async def settle(self) -> None:
        """Run turns until nothing is due at this instant, for tests that set the clock. Errors of
        a turn pass through."""
        await self.turn(self.clock())
        while self.workers:
            await self.workers.join()
            await self.turn(self.clock())


class Driver:
    """Runs loops, each in its own task, and knows their status."""

    def __init__(self) -> None:
        self.statuses: list[LoopStatus] = []
        """Statuses of all running loops, in the order in which they started."""

    @asynccontextmanager
    async def running(self, *loops: Loop) -> AsyncIterator[None]:
        """Run these loops until the block ends. By then everything that they started has ended."""
        statuses = [loop.status for loop in loops]
        self.statuses += statuses
        tasks = [asyncio.create_task(_drive(loop), name=loop.name) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.statuses = [status for status in self.statuses if status not in statuses]


async def _drive(loop: Loop) -> None:
    try:
        while True:
            loop.wake.clear()
            with loop.status.turning():
                await loop.turn(loop.clock())
            if _is_cancelled():
                return  # the turn swallowed the cancellation
            # Not wait_for: before Python 3.12 it loses a cancellation that arrives as it wakes.
            with suppress(TimeoutError):
                async with asyncio.timeout(loop.period.total_seconds()):
                    await loop.wake.wait()
    finally:
        with suppress(DatabaseUnavailable), loop.status.contained(f"the end of {loop.name}"):
            await loop.close()
