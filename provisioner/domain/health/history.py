"""What a verdict is based on: an agent's newest report, and counters from earlier ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from provisioner.domain.health.rule import Scope
from provisioner.domain.health.rules import COUNTERS, LONGEST_WINDOW

GRAIN = timedelta(seconds=60)
"""Reports older than the newest are kept at this interval."""

Values = Mapping[str, Any]
_LISTS = {
    Scope.GPU: "gpus",
    Scope.DISK: "disks",
    Scope.LINK: "links",
    Scope.SENSOR: "sensors",
}


class Part(NamedTuple):
    """Something that has signals. `key` identifies it for ever, `label` is what people call it."""

    scope: Scope
    key: str
    label: str
    values: Values


@dataclass(frozen=True, slots=True)
class Sample:
    """The health in one report, and the BMC's sensors.

    `at` is the provisioner's time, as a tenant's clock is not trusted.
    """

    at: datetime
    boot_id: str
    context: str
    uptime_s: float
    health: Values
    """Nearly empty from an agent that does not read health."""
    lease_id: str = ""
    """The lease whose system sent it, which may send anything; empty for our ramdisk."""

    @classmethod
    def of(
        cls, report: Values, at: datetime, sensors: Sequence[Values] = (), lease_id: str = ""
    ) -> "Sample":
        """Build a sample from a stored report (`agent.protocol.Report.to_dict`).

        `sensors` is a fresh reading of the BMC (`sensors.kept`), which no agent can influence.
        """
        return cls(
            at,
            report["boot_id"],
            report["context"],
            report["uptime_s"],
            {**(report.get("health") or {}), "sensors": sensors},
            lease_id,
        )

    def has_read(self, scope: Scope) -> bool:
        """Whether it says anything of parts of this kind."""
        return _LISTS[scope] in self.health

    def parts(self) -> Iterator[Part]:
        """Yield the server's parts, without the server itself."""
        for scope, name in _LISTS.items():
            for number, values in enumerate(self.health.get(name, ())):
                yield _part(scope, number, values)


def remember(history: Sequence[Sample], new: Sample) -> tuple[Sample, ...]:
    """Add a report to the history: newest last, before it at most one a minute, all of its boot.

    Little is kept of older reports. A history may live in memory and be lost: windows then start
    over.
    """
    kept = [
        sample
        for sample in history
        if sample.boot_id == new.boot_id and new.at - LONGEST_WINDOW - GRAIN <= sample.at < new.at
    ]
    if len(kept) > 1 and kept[-1].at - kept[-2].at < GRAIN:
        kept.pop()
    return (*thinned(kept), new)


def thinned(history: Sequence[Sample]) -> tuple[Sample, ...]:
    """Drop what the next verdict does not need: even of the newest, only counters are kept.

    While no counter changes, as is usual on a healthy server, the first and last report are enough.
    """
    if not history:
        return ()
    *before, new = history
    counters = _thinned(new.health)
    if before and before[-1].health == counters:
        counters = before[-1].health
        if len(before) > 1 and before[-2].health is counters:
            before.pop()
    return (*before, replace(new, health=counters))


def _part(scope: Scope, number: int, values: Values) -> Part:
    if scope is Scope.GPU:
        index = values.get("index", number)
        return Part(scope, values.get("uuid") or f"gpu-{index}", f"GPU {index}", values)
    name = values.get("name", number)
    if scope is Scope.SENSOR:
        return Part(scope, f"{scope}-{name}", name, values)
    return Part(scope, f"{scope}-{name}", f"{scope} {name}", values)


def _thinned(health: Values) -> Values:
    """Keep only the counters; repeating it changes nothing."""
    wanted = COUNTERS[Scope.SERVER]
    thin = {name: value for name, value in health.items() if name in wanted}
    for scope, name in _LISTS.items():
        if not COUNTERS[scope]:
            continue
        wanted = COUNTERS[scope] | {"index", "uuid", "name"}
        thin[name] = [
            {key: value for key, value in values.items() if key in wanted}
            for values in health.get(name, ())
        ]
    return thin
