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

from provisioner.domain.lifecycle import RAMDISK, RUNS, SLA, STEPS, TRANSITIONS, State, Step
from provisioner.settings import Settings

DOCS = Path(__file__).parent
_REGION = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_RACKCTL = ("typer", "provisioner.rackctl.app", "utils", "docs", "--name", "rackctl")


def transitions() -> str:
    """Every row of the lifecycle table, in the order in which it is read."""
    rows = [(f"`{t.source}`", t.condition, f"`{t.target}`") for t in TRANSITIONS]
    return _table(("In state", "when", "becomes"), rows)


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


TABLES: dict[str, Callable[[], str]] = {
    "transitions": transitions,
    "operations": operations,
    "settings": settings,
}


def filled(page: str) -> str:
    """The text of a page with its tables as the code has them."""
    return _REGION.sub(lambda m: m[1] + TABLES[m[2]]() + m[3], page)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


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
