"""A limit on failed logins, in this process's memory.

An attempt counts from its beginning, not from its failure: many at once are no way around it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=15)
_MOST_KEPT = 100_000
"""Limit of keys kept; beyond it the least recently used is dropped."""


@dataclass(slots=True)
class Throttle:
    """Counts attempts within 15 minutes; `limit` of them refuse others until the oldest expires."""

    limit: int
    _attempts: dict[str, deque[datetime]] = field(default_factory=dict)

    def closed(self, key: str, now: datetime) -> bool:
        times = self._attempts.get(key)
        if times is None:
            return False
        while times and now - times[0] >= WINDOW:
            times.popleft()
        if not times:
            del self._attempts[key]
        return len(times) >= self.limit

    def count(self, key: str, now: datetime) -> None:
        times = self._attempts.pop(key, None) or deque(maxlen=self.limit)
        times.append(now)
        self._attempts[key] = times
        if len(self._attempts) > _MOST_KEPT:
            del self._attempts[next(iter(self._attempts))]

    def give_back(self, key: str, at: datetime) -> None:
        """Forget one attempt: it was right, or it was not made."""
        times = self._attempts.get(key)
        if times is not None and at in times:
            times.remove(at)


Counts = Sequence[tuple[Throttle, str]]
"""What an attempt counts against: each throttle, with the key there."""


def begin(counts: Counts, now: datetime) -> bool:
    """Count an attempt everywhere, unless one of the limits is reached."""
    if any(throttle.closed(key, now) for throttle, key in counts):
        return False
    for throttle, key in counts:
        throttle.count(key, now)
    return True


def give_back(counts: Counts, at: datetime) -> None:
    for throttle, key in counts:
        throttle.give_back(key, at)
