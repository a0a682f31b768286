"""When Python collects garbage, in a process that answers many requests.

By its own rule it collects when many more objects were made than freed. Where each report replaces
an old one that is seldom so, and hundreds of thousands of new ones are looked through at once,
while everybody waits. Here it is the clock that says when.
"""

import gc
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import ClassVar

from provisioner.loops import Loop
from provisioner.store.columns import utc_now

_EVERYTHING = timedelta(hours=1)
"""Holds everybody up, a second on such a site; what it finds had lived past its first look."""


class GarbageCollection(Loop):
    """What is loaded at its first turn stays, and is not looked through."""

    name: ClassVar[str] = "garbage"

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = utc_now,
        period: timedelta = timedelta(seconds=0.1),
    ) -> None:
        """In a `period`, even with 10,000 agents, some thousand objects are made: a millisecond or
        two."""
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
        """Leave it to Python again."""
        gc.unfreeze()
        gc.enable()
