"""From reports to a verdict: how healthy a server is, why, and what repairs it.

A pure function of what was reported and found before; the lifecycle acts on it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from provisioner.domain.health.history import Part, Sample, Values
from provisioner.domain.health.levels import HealthAction, HealthLevel, Outcome
from provisioner.domain.health.measure import measure
from provisioner.domain.health.rule import Measure, Rule, Scope
from provisioner.domain.health.rules import BY_NAME, BY_SCOPE
from provisioner.domain.health.xids import RULE_PREFIX, SOURCE, xid

HOLD = timedelta(minutes=10)
"""A finding stays this long after it was last true, so that verdicts do not flap.

It also stays while nothing is read that would tell, unless a reboot repairs it.
"""

NOTICE = timedelta(hours=1)
"""How long an XID caused by the job itself is shown."""

AGAIN_WITHIN = timedelta(days=7)
AGAIN_BOOTS = 2
"""A fault found in this many earlier boots within that time has survived its repair."""

_DONE_BY_BOOTING = (HealthAction.NONE, HealthAction.RESET_AT_LEASE_END, HealthAction.REBOOT)
_MEASURED = {scope: [(rule, measure(rule)) for rule in rules] for scope, rules in BY_SCOPE.items()}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one part, in one boot."""

    rule: str
    """A rule's name, or an XID's (`xid_79`)."""
    part: str
    """A GPU's UUID; `server` for the whole server."""
    level: HealthLevel
    action: HealthAction
    summary: str
    source: str
    boot_id: str
    since: datetime
    seen: datetime
    """When it was last true."""
    lease_id: str = ""
    """The lease whose system alone has reported it; empty if our ramdisk or the BMC has."""

    @property
    def by_tenant(self) -> bool:
        """Whether there is only the word of a tenant, who may lie."""
        return self.lease_id != ""

    @property
    def awaits_ramdisk(self) -> bool:
        """Whether our ramdisk has yet to verify it."""
        rule = BY_NAME.get(self.rule)
        return self.by_tenant and rule is not None and rule.verifiable


@dataclass(frozen=True, slots=True)
class Verdict:
    level: HealthLevel
    action: HealthAction
    findings: tuple[Finding, ...]
    """Worst first."""
    boot_id: str = ""
    pending: Mapping[str, datetime] = field(default_factory=dict)
    """Since when a condition has held that becomes a finding only if it lasts."""

    @property
    def summary(self) -> str:
        """The worst finding, as a sentence."""
        return self.findings[0].summary if self.level is not HealthLevel.OK else "nothing is wrong"

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON, for storing."""
        findings = [
            {**asdict(f), "since": f.since.isoformat(), "seen": f.seen.isoformat()}
            for f in self.findings
        ]
        return {
            "level": self.level,
            "action": self.action,
            "findings": findings,
            "boot_id": self.boot_id,
            "pending": {key: since.isoformat() for key, since in self.pending.items()},
        }

    @classmethod
    def from_dict(cls, data: Values) -> "Verdict":
        findings = [
            Finding(
                **{
                    **finding,
                    "level": HealthLevel(finding["level"]),
                    "action": HealthAction(finding["action"]),
                    "since": datetime.fromisoformat(finding["since"]),
                    "seen": datetime.fromisoformat(finding["seen"]),
                }
            )
            for finding in data["findings"]
        ]
        pending = {key: datetime.fromisoformat(at) for key, at in data["pending"].items()}
        return _of(findings, data["boot_id"], pending)


HEALTHY = Verdict(HealthLevel.OK, HealthAction.NONE, ())


def verdict(
    history: Sequence[Sample],
    *,
    now: datetime,
    gpus_expected: int = 0,
    past: Sequence[Finding] = (),
    previous: Verdict = HEALTHY,
) -> Verdict:
    """Return how healthy the server is now; call it at every report, and when one is overdue.

    `history` is what `remember` keeps; without a report yet, nothing is known and nothing changes.
    `gpus_expected` is the inventory's count. `past` are findings of the last days at `degraded` or
    worse, by which a fault is recognised after a reboot. `previous` is the last verdict.
    """
    if not history:
        return previous
    new = history[-1]
    before = previous.pending if previous.boot_id == new.boot_id else {}
    pending: dict[str, datetime] = {}
    found: dict[tuple[str, str], Finding] = {}
    for rule, finding in _broken(history, now, gpus_expected):
        if rule.measure is Measure.LASTING:
            key = f"{rule.name} {finding.part}"
            pending[key] = before.get(key, new.at)
            if new.at - pending[key] < rule.window:
                continue
        found[finding.rule, finding.part] = finding
    found |= {(finding.rule, finding.part): finding for finding in _xids(new, now)}
    for old in previous.findings:
        same = old.rule, old.part
        if same in found:
            lease_id = found[same].lease_id if old.by_tenant else ""
            found[same] = replace(found[same], since=old.since, lease_id=lease_id)
        elif _holds(old, new, now) or (old.awaits_ramdisk and _is_pending(old.rule, pending)):
            found[same] = old
    escalated = [_escalated(finding, past, now) for finding in found.values()]
    return _of(escalated, new.boot_id, pending)


def _broken(
    history: Sequence[Sample], now: datetime, gpus_expected: int
) -> Iterator[tuple[Rule, Finding]]:
    """Yield every rule that is broken now, whether or not that has lasted."""
    new = history[-1]
    server = _server(new, now, gpus_expected)
    past: dict[str, list[tuple[datetime, Values]]] = {
        server.key: [(old.at, old.health) for old in history[-2::-1]]
    }
    for old in history[-2::-1]:
        for part in old.parts():
            past.setdefault(part.key, []).append((old.at, part.values))
    for part in (server, *new.parts()):
        seen = [(new.at, part.values), *past.get(part.key, ())]
        for rule, measured in _MEASURED[part.scope]:
            value = measured(seen)
            if value is None:
                continue
            limit = part.values.get(str(rule.limit), rule.limit)
            words = _Words({**part.values, "part": part.label, "value": value, "limit": limit})
            yield (
                rule,
                Finding(
                    rule.name,
                    part.key,
                    rule.outcome.level,
                    rule.outcome.action,
                    rule.summary.format_map(words),
                    rule.source,
                    new.boot_id,
                    now,
                    now,
                    lease_id="" if part.scope is Scope.SENSOR else new.lease_id,
                ),
            )


def _server(new: Sample, now: datetime, gpus_expected: int) -> Part:
    """Return the server as a part: its own signals, and those only visible from here."""
    health = new.health
    values: dict[str, Any] = {
        name: value for name, value in health.items() if not isinstance(value, list)
    }
    values["silent_s"] = (now - new.at).total_seconds()
    values["gpus_expected"] = gpus_expected
    if gpus_expected:
        # The ramdisk has no driver by design.
        if new.context == "tenant":
            values["driver_expected_but"] = health.get("state")
        if health.get("state") == "ok":
            values["gpus_missing"] = gpus_expected - len(health.get("gpus", ()))
        if "gpus_on_bus" in health:
            values["gpus_missing_on_bus"] = gpus_expected - health["gpus_on_bus"]
    return Part(Scope.SERVER, "server", "the server", values)


def _xids(new: Sample, now: datetime) -> Iterator[Finding]:
    gpus = {gpu.values.get("pci"): gpu for gpu in new.parts() if gpu.scope is Scope.GPU}
    for event in new.health.get("events", ()):
        entry = xid(event["xid"], event.get("text", ""))
        at = new.at - timedelta(seconds=max(0.0, new.uptime_s - event["at_s"]))
        if entry.outcome is Outcome.FINE and now - at > NOTICE:
            continue
        gpu = gpus.get(event["pci"])
        label = gpu.label if gpu else f"the GPU at {event['pci']}"
        yield Finding(
            entry.rule,
            gpu.key if gpu else event["pci"],
            entry.outcome.level,
            entry.outcome.action,
            f"{label}: XID {entry.number}, {entry.meaning} ({entry.response})",
            SOURCE,
            new.boot_id,
            at,
            at,
            lease_id=new.lease_id,
        )


def _holds(old: Finding, new: Sample, now: datetime) -> bool:
    """Whether a finding that is no longer true still counts."""
    rule = BY_NAME.get(old.rule)
    is_xid = old.rule.startswith(RULE_PREFIX)
    if old.level is HealthLevel.OK or not (rule or is_xid):
        return False  # shown for a while, or its rule was removed by an update
    same_boot = old.boot_id == new.boot_id
    if not same_boot and old.action in _DONE_BY_BOOTING:
        return False
    if _unread(old, rule, new):
        return True
    if is_xid or (rule is not None and rule.latched):
        return same_boot
    return same_boot and now - old.seen < HOLD


def _unread(old: Finding, rule: Rule | None, new: Sample) -> bool:
    """Whether the new report cannot tell.

    There is no driver, as in the ramdisk, or it hangs; or the BMC's reading is not fresh. What a
    tenant said of a part may name none that exists: our ramdisk has to read all of its kind.
    """
    scope = rule.scope if rule else Scope.GPU
    if scope is Scope.SERVER:
        return rule is not None and rule.signal not in _server(new, new.at, 1).values
    if old.awaits_ramdisk and not new.lease_id:
        return not new.has_read(scope)
    part = next((part for part in new.parts() if part.key == old.part), None)
    if part is None:  # removed from the server, if the others are read
        if scope is Scope.SENSOR:
            return not new.health.get("sensors")
        return scope is Scope.GPU and new.health.get("state") != "ok"
    return rule is not None and rule.signal not in part.values


def _is_pending(rule: str, pending: Mapping[str, datetime]) -> bool:
    """Whether a rule is broken, for whatever part, but not for long enough yet."""
    return any(key.split(" ")[0] == rule for key in pending)


def _escalated(finding: Finding, past: Sequence[Finding], now: datetime) -> Finding:
    """Escalate a fault that survived two reboots: a third would not repair it."""
    rule = BY_NAME.get(finding.rule)
    again = HealthAction.RMA if rule is None else rule.again
    if again is None or finding.level.rank < HealthLevel.DEGRADED.rank:
        return finding
    boots = {
        old.boot_id
        for old in past
        if (old.rule, old.part) == (finding.rule, finding.part)
        and old.boot_id != finding.boot_id
        and now - old.seen < AGAIN_WITHIN
    }
    if len(boots) < AGAIN_BOOTS or finding.action is again:
        return finding
    says = f"{finding.summary}; again after {len(boots)} reboots"
    return replace(finding, level=HealthLevel.FAULTY, action=again, summary=says)


def _of(findings: Iterable[Finding], boot_id: str, pending: Mapping[str, datetime]) -> Verdict:
    ordered = tuple(sorted(findings, key=lambda f: (-f.level.rank, -f.action.rank, f.rule, f.part)))
    return Verdict(
        max((f.level for f in ordered), key=lambda level: level.rank, default=HealthLevel.OK),
        max((f.action for f in ordered), key=lambda action: action.rank, default=HealthAction.NONE),
        ordered,
        boot_id,
        pending,
    )


class _Words(dict[str, Any]):
    """Values for a sentence: whole numbers without a decimal point, lists by their length."""

    def __missing__(self, name: str) -> str:
        return "?"

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if isinstance(value, Mapping | list | tuple):
            return len(value)
        return round(value) if isinstance(value, float) else value
