"""Output of commands: tables for people, the API's own objects for programs.

Results go to standard output, everything else (progress, errors) to standard error.
"""

import json
import shutil
import sys
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from provisioner.rackctl.errors import RackctlError
from provisioner.rackctl.formats import plain
from provisioner.rackctl.tables import PIPE_WIDTH, TableConsole, cell


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


Output = Annotated[
    Format,
    typer.Option("-o", "--output", help="Tables, or the API's objects as JSON."),
]

_NO_LIMIT = 10_000
"""Columns with `--wide`: the terminal wraps what does not fit."""


class Screen:
    """Standard output and standard error of one command."""

    def __init__(self, *, colour: bool = True) -> None:
        self.out = _console(colour=colour, stderr=False)
        self.err = _console(colour=colour, stderr=True)

    def widen(self) -> None:
        """Show tables whole: every column, full identifiers and times."""
        self.out.width, self.out.everything = _NO_LIMIT, True

    def show(self, form: Format, document: Any, table: RenderableType) -> None:
        """The result: `document` as JSON, or `table`."""
        if form is Format.JSON:
            self.json(document)
        else:
            self.out.print(table)

    def json(self, document: Any) -> None:
        self.out.out(json.dumps(document, indent=2, ensure_ascii=False), highlight=False)

    def json_line(self, document: Any) -> None:
        """One object per line, for streams."""
        self.out.out(json.dumps(document, ensure_ascii=False), highlight=False)

    def note(self, text: str) -> None:
        """Progress or a remark."""
        self.err.print(Text(plain(text)))

    def error(self, error: RackctlError) -> None:
        self.err.print(Text.assemble(("rackctl: ", "bold red"), plain(error.reason)))
        for detail in error.details:
            self.err.print(Text(plain(detail)))
        if error.next_action:
            self.err.print(Text.assemble(("next: ", "bold"), plain(error.next_action)))


def terminal_columns(*, stderr: bool) -> int | None:
    """How wide the terminal is; None if the output is not one."""
    stream = sys.stderr if stderr else sys.stdout
    return shutil.get_terminal_size().columns if stream.isatty() else None


def _console(*, colour: bool, stderr: bool) -> TableConsole:
    return TableConsole(
        stderr=stderr,
        no_color=None if colour else True,
        highlight=False,
        soft_wrap=False,
        markup=False,
        emoji=False,
        width=terminal_columns(stderr=stderr) or PIPE_WIDTH,
    )


def sheet(lines: Iterable[tuple[str, Any]]) -> Table:
    """Names and values, one per line; names without a value are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        if value not in (None, "", [], {}):
            table.add_row(name, cell(value))
    return table


def section(title: str, body: RenderableType) -> Group:
    """A titled part of a longer page."""
    return Group(Text(""), Text(title, style="bold underline"), body)
