"""docs/rackctl.md names every command and option."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from provisioner.rackctl.app import app

REFERENCE = Path(__file__).parents[2] / "docs" / "rackctl.md"
MAKE_IT = (
    "python -m typer provisioner.rackctl.app utils docs --name rackctl --output docs/rackctl.md"
)


def commands(group: object, name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield every command's full name with its options."""
    options = [option for parameter in group.params for option in parameter.opts]  # type: ignore[attr-defined]
    yield name, [option for option in options if option.startswith("--")]
    for inner, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{name} {inner}")


def sections() -> dict[str, str]:
    """Return the text under every heading that names a command."""
    parts = re.split(r"^#+ `?(rackctl[^`\n]*)`?\n", REFERENCE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(
    ("name", "options"), list(commands(typer.main.get_command(app), "rackctl")), ids=str
)
def test_every_command_and_option_is_in_the_reference(name: str, options: list[str]) -> None:
    assert name in sections(), MAKE_IT
    assert [option for option in options if option not in sections()[name]] == [], MAKE_IT


def test_the_reference_names_no_command_that_is_not_there() -> None:
    there = {name for name, _ in commands(typer.main.get_command(app), "rackctl")}

    assert sections().keys() == there, MAKE_IT
