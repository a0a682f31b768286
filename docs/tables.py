"""Writes what the code knows into the pages: transitions, steps, settings, rackctl's reference.

`make docs` runs it. A page says where a table goes by a pair of comments; the text between them is
replaced. Tests hold every page equal to the code.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

from agent.signals import DISK, EVENT, GPU, LINK, SERVER
from agent.signals.prometheus import METRICS
from provisioner.domain.access import least_role
from provisioner.domain.health.bmc_states import DRAIN, KINDS, MEANINGS, SPECIFIC, TYPES, WATCH
from provisioner.domain.health.rule import Measure, Rule
from provisioner.domain.health.rules import RULES
from provisioner.domain.health.xids import XIDS
from provisioner.domain.lifecycle import (
    ALLOWED,
    OPERATIONS,
    RAMDISK,
    RUNS,
    SLA,
    STEPS,
    RequestVerb,
    State,
    Step,
)
from provisioner.domain.runbooks import RUNBOOKS
from provisioner.domain.transitions import TRANSITIONS
from provisioner.service.api.endpoints import ENDPOINTS
from provisioner.service.http.problem_codes import CODES
from provisioner.settings import Settings

DOCS = Path(__file__).parent
_REGION = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_RACKCTL = ("typer", "provisioner.rackctl.app", "utils", "docs", "--name", "rackctl")


def transitions() -> str:
    """Every row of the lifecycle table, in the order in which it is read."""
    rows = [(f"`{t.source}`", t.condition, f"`{t.target}`", "; ".join(t.then)) for t in TRANSITIONS]
    return _table(("In state", "when", "becomes", "and then"), rows)


def operations() -> str:
    """The operation that each state runs, its steps, and the state's time."""
    rows = [
        (
            f"`{state}`",
            f"`{RUNS[state]}`" if state in RUNS else "–",
            _chain(STEPS[RUNS[state]]) if state in RUNS else "–",
            _span(SLA[state]) if state in SLA else "any time",
        )
        for state in State
    ]
    return _table(("State", "Operation", "Steps", "Stuck after"), rows) + (
        f"\n*To the ramdisk* stands for {' → '.join(f'`{step}`' for step in RAMDISK)}.\n"
    )


def requests() -> str:
    """What may be requested, where, and the steps of its operation."""
    rows = [
        (
            f"`{verb}`",
            ", ".join(f"`{state}`" for state in State if verb in ALLOWED[state]),
            _chain(STEPS[OPERATIONS[verb]]) if verb in OPERATIONS else "another state",
        )
        for verb in RequestVerb
    ]
    return _table(("Request", "Allowed in", "Leads to"), rows)


def settings() -> str:
    """Every setting with its variable, default and meaning."""
    prefix = Settings.model_config["env_prefix"]
    rows = [
        (
            f"`{name}`",
            f"`{field.validation_alias or prefix + name.upper()}`",
            f"`{_default(field.default)}`" if _default(field.default) else "",
            " ".join((field.description or "").split()),
        )
        for name, field in Settings.model_fields.items()
    ]
    return _table(("Setting", "Variable", "Default", "Meaning"), rows)


def health_rules() -> str:
    """Every rule that a verdict is made of, worst first."""
    rules = sorted(RULES, key=lambda rule: (-rule.outcome.level.rank, -rule.outcome.action.rank))
    rows = [
        (
            f"`{rule.name}`",
            rule.scope,
            _condition(rule),
            rule.outcome.level,
            f"`{rule.outcome.action}`",
            f"`{rule.again}`" if rule.again else "",
            "yes" if rule.verifiable else "",
            rule.source,
        )
        for rule in rules
    ]
    return _table(("Rule", "Of", "When", "Level", "Action", "Again", "Verified", "Source"), rows)


def bmc_states() -> str:
    """Every state of a BMC's sensors and event log that is evidence, worst first."""
    types = {number: name for name, number in TYPES.items()}
    grades = {DRAIN: "critical", WATCH: "warning"}
    rows = [
        (
            f"{types[state.sensor_type]} ({state.sensor_type:02X}h)",
            f"{state.offset:X}h",
            meaning.text,
            f"`{KINDS[state.sensor_type]}_{grades[meaning.severity]}`",
        )
        for state, meaning in sorted(
            MEANINGS.items(), key=lambda item: (-item[1].severity, item[0])
        )
        if state.event_type == SPECIFIC
    ]
    return _table(("Sensor type", "Offset", "Meaning", "Rule"), rows)


def runbooks() -> str:
    """What to do about each kind of incident."""
    rows = [
        (f"`{kind}`", book.means, " ".join(book.steps), book.closes)
        for kind, book in RUNBOOKS.items()
    ]
    return _table(("Incident", "Means", "Do", "Closes when"), rows)


def xids() -> str:
    """Every XID that is known, with the catalogue's answer and ours."""
    rows = [
        (
            str(entry.number),
            entry.meaning,
            entry.response,
            entry.outcome.level,
            f"`{entry.outcome.action}`",
        )
        for entry in XIDS.values()
    ]
    return _table(("XID", "Meaning", "Catalogue", "Level", "Action"), rows)


def signals() -> str:
    """Every signal that agents report."""
    groups = (("server", SERVER), ("GPU", GPU), ("disk", DISK), ("link", LINK), ("event", EVENT))
    rows = [
        (
            f"`{signal.name}`",
            group,
            signal.kind,
            f"{signal.every_s} s" if signal.every_s else "",
            signal.meaning,
        )
        for group, table in groups
        for signal in table
    ]
    return _table(("Signal", "Of", "Kind", "Read every", "Meaning"), rows)


def agent_metrics() -> str:
    """Every metric of the agent's own /metrics but the last XID."""
    rows = [
        (f"`{metric.name}`", metric.kind, " + ".join(f"`{name}`" for name in metric.signals))
        for metric in METRICS
    ]
    return _table(("Metric", "Type", "Signals"), rows)


def endpoints() -> str:
    """Every endpoint of the API with its role."""
    rows = [
        (
            f"`{e.method} {e.full_path}`",
            least_role(e.permission).value,
            e.summary.partition("\n\n")[0],
        )
        for e in ENDPOINTS
    ]
    return _table(("", "Least role", ""), rows)


def problems() -> str:
    """Every code that a problem may have."""
    rows = [
        (f"`{name}`", ", ".join(map(str, code.statuses)), code.meaning)
        for name, code in CODES.items()
    ]
    return _table(("Code", "Status", "Meaning"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "transitions": transitions,
    "operations": operations,
    "requests": requests,
    "settings": settings,
    "health_rules": health_rules,
    "bmc_states": bmc_states,
    "runbooks": runbooks,
    "xids": xids,
    "signals": signals,
    "agent_metrics": agent_metrics,
    "endpoints": endpoints,
    "problems": problems,
}


def filled(page: str) -> str:
    """The text of a page with its tables as the code has them."""
    return _REGION.sub(lambda m: m[1] + TABLES[m[2]]() + m[3], page)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _condition(rule: Rule) -> str:
    """The condition in words; a signal that is read with its length counts its entries."""
    limit = f"`{rule.limit}`" if isinstance(rule.limit, str) else f"{rule.limit:g}"
    text = f"`{rule.signal}` {rule.compare} {limit}"
    if rule.measure is Measure.INCREASE:
        text = f"`{rule.signal}` grew by {rule.compare} {limit} in {_span(rule.window)}"
    elif rule.measure is Measure.LASTING:
        text += f" for {_span(rule.window)}"
    if rule.only:
        signal, compare, value = rule.only
        text += f", while `{signal}` {compare} {value:g}"
    return text


def _chain(steps: tuple[Step, ...]) -> str:
    """The steps that lead to the ramdisk, which many operations begin with, as one."""
    own = steps[len(RAMDISK) :] if steps[: len(RAMDISK)] == RAMDISK else steps
    return " → ".join([*["*to the ramdisk*"] * (own != steps), *(f"`{step}`" for step in own)])


def _default(value: object) -> str:
    if value in (None, Path()):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _span(time: timedelta) -> str:
    minutes = int(time.total_seconds() // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h"


def main() -> None:
    for page in DOCS.glob("*.md"):
        page.write_text(filled(page.read_text()))
    reference = DOCS / "rackctl.md"
    subprocess.run([sys.executable, "-m", *_RACKCTL, "--output", reference], check=True)


if __name__ == "__main__":
    main()
