"""One log line per fault: the same line again within a minute is counted, not written."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_PERIOD_S = 60.0
_MOST_KEPT = 1000
"""Different lines remembered; beyond them, the one that was last repeated longest ago is not."""
_LONGEST_KEY = 500


@dataclass(slots=True)
class _Line:
    written_at: float
    left_out: int = 0


class OncePerPeriod(logging.Filter):
    """Passes warnings and errors once per period each; the next one says how many were left out."""

    def __init__(
        self, period_s: float = _PERIOD_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._period_s = period_s
        self._clock = clock
        self._lines: OrderedDict[tuple[str, ...], _Line] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        key, now = _key(record), self._clock()
        line = self._lines.pop(key, None)
        if line is not None and now - line.written_at < self._period_s:
            line.left_out += 1
            self._lines[key] = line
            return False
        if line is not None and line.left_out:
            record.msg = f"{record.getMessage()} ({line.left_out} more since the last such line)"
            record.args = ()
        self._lines[key] = _Line(now)
        if len(self._lines) > _MOST_KEPT:
            self._lines.popitem(last=False)
        return True


def _key(record: logging.LogRecord) -> tuple[str, ...]:
    """What two lines have in common that tell of the same fault."""
    error = record.exc_info[1] if record.exc_info else None
    return (
        record.name,
        record.getMessage()[:_LONGEST_KEY],
        type(error).__name__,
        str(error)[:_LONGEST_KEY],
    )
