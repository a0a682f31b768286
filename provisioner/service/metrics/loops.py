"""The status of the daemon's background work, for `/metrics`."""

from collections.abc import Callable, Iterable
from datetime import datetime

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from provisioner.loops import Driver, LoopStatus

_Value = Callable[[LoopStatus], float | None]
_COUNTERS: tuple[tuple[str, str, _Value], ...] = (
    ("turns", "Turns that have ended", lambda loop: loop.turns),
    ("failures", "Turns, and works on single rows, that failed", lambda loop: loop.failures),
)
_GAUGES: tuple[tuple[str, str, _Value], ...] = (
    ("failing", "1 when the last turn failed", lambda loop: loop.failing),
    ("period_seconds", "The longest pause between two turns", lambda loop: loop.period_s),
    ("last_turn_seconds", "How long the last turn took", lambda loop: loop.took_s),
    (
        "last_turn_timestamp_seconds",
        "When the last turn began",
        lambda loop: _seconds(loop.turned_at),
    ),
    (
        "last_error_timestamp_seconds",
        "When something last failed; `rackctl status` tells what",
        lambda loop: _seconds(loop.error_at),
    ),
)


class LoopMetrics(Collector):
    """Read from the driver at each scrape."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def collect(self) -> Iterable[Metric]:
        for family, table in ((CounterMetricFamily, _COUNTERS), (GaugeMetricFamily, _GAUGES)):
            for name, description, value_of in table:
                metric = family(f"ironlease_loop_{name}", description, labels=["loop"])
                for loop in self._driver.statuses:
                    value = value_of(loop)
                    if value is not None:
                        metric.add_metric([loop.name], value)
                yield metric


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()
