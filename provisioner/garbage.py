"""Runs Python's garbage collector by the clock.

By default Python collects once many more objects were made than freed. Here each report replaces
an old one, so that is rare, and a collection then walks hundreds of thousands of objects while
every request waits.
"""

import gc
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import ClassVar

from provisioner.loops import Loop
from provisioner.store.columns import utc_now

_EVERYTHING = timedelta(hours=1)
"""A full collection stops everything for a second on a large site; it finds what outlived the
first generation."""


class GarbageCollection(Loop):
    """Objects that exist at its first turn are frozen: they are never collected nor scanned."""

    name: ClassVar[str] = "garbage"

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = utc_now,
        period: timedelta = timedelta(seconds=0.1),
    ) -> None:
        """Even with 10,000 agents, a `period` makes a few thousand objects: one or two
        milliseconds of work."""
        super().__init__(period=period, clock=clock)
        self._everything_at: datetime | None = None

    async def turn(self, now: datetime) -> None:
        if self._everything_at is None:
            gc.disable()
            gc.collect()
            gc.freeze()
        elif now < self._everything_at:
            gc.collect(0)
            return
        else:
            gc.collect()
        self._everything_at = now + _EVERYTHING

    async def close(self) -> None:
        """Return to Python's own rule."""
        gc.unfreeze()
        gc.enable()
