"""A limit on failed logins, per account name and per address, in this process's memory."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

_WINDOW = timedelta(minutes=15)
_MOST_KEPT = 100_000
"""Limit of names and addresses kept; beyond it the least recently seen is dropped."""


@dataclass(slots=True)
class Throttle:
    """Counts failures within 15 minutes; `limit` of them block logins until the oldest expires."""

    limit: int
    _failures: dict[str, deque[datetime]] = field(default_factory=dict)

    def closed(self, key: str, now: datetime) -> bool:
        times = self._failures.get(key)
        if times is None:
            return False
        while times and now - times[0] >= _WINDOW:
            times.popleft()
        if not times:
            del self._failures[key]
        return len(times) >= self.limit

    def failed(self, key: str, now: datetime) -> None:
        times = self._failures.pop(key, None) or deque(maxlen=self.limit)
        times.append(now)
        self._failures[key] = times
        if len(self._failures) > _MOST_KEPT:
            del self._failures[next(iter(self._failures))]

    def passed(self, key: str) -> None:
        self._failures.pop(key, None)
