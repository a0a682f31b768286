"""The log of a running step: writes lines to the database as they arrive, in small batches."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from types import TracebackType

from provisioner.domain.lifecycle import Step
from provisioner.domain.storable import clean
from provisioner.store.database import Database, DatabaseUnavailable
from provisioner.store.tables import StepLog

_BATCH_S = 0.2
LONGEST_LINE = 10_000
"""Characters of a line; a machine may say more."""


class StepLogWriter:
    """Collects lines in the event loop's thread and flushes them while the step runs. Lines that
    cannot be written wait."""

    def __init__(
        self, database: Database, operation_id: str, step: Step, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._operation_id = operation_id
        self._step = step
        self._clock = clock
        self._lines: list[StepLog] = []
        self._arrived = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None

    def __call__(self, text: str) -> None:
        self._lines.append(
            StepLog(
                operation_id=self._operation_id,
                step=self._step,
                at=self._clock(),
                text=clean(text, LONGEST_LINE),
            )
        )
        self._arrived.set()

    async def __aenter__(self) -> "StepLogWriter":
        self._flusher = asyncio.create_task(self._flush_as_they_come())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        await self._flush()

    async def _flush_as_they_come(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(_BATCH_S)
            with suppress(DatabaseUnavailable):
                await asyncio.shield(self._flush())

    async def _flush(self) -> None:
        self._arrived.clear()
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            async with self._database.write() as session:
                for line in lines:
                    await session.merge(line)  # it may be there already: only the answer was lost
        except DatabaseUnavailable:
            self._lines = lines + self._lines
            self._arrived.set()
            raise
