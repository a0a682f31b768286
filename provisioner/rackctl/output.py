"""Output of commands: tables for people, the API's own objects for programs.

Results go to standard output, everything else (progress, errors) to standard error.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from provisioner.rackctl.errors import RackctlError
from provisioner.rackctl.formats import plain


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


Output = Annotated[
    Format,
    typer.Option("-o", "--output", help="Tables, or the API's objects as JSON."),
]

_PIPE_WIDTH = 400
"""Columns when the output is not a terminal: rows stay on one line, for grep and friends."""

STATE_STYLES = {
    "available": "green",
    "ok": "green",
    "watch": "yellow",
    "degraded": "bold yellow",
    "faulty": "bold red",
    "leased": "cyan",
    "ready": "green",
    "quarantined": "bold red",
    "failed": "bold red",
    "parked": "bold yellow",
    "maintenance": "magenta",
    "retired": "dim",
}
"""Colours of states and health levels; all others are plain."""


class Screen:
    """Standard output and standard error of one command."""

    def __init__(self, *, colour: bool = True) -> None:
        self.out = _console(colour=colour, stderr=False)
        self.err = _console(colour=colour, stderr=True)

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


def _console(*, colour: bool, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        no_color=None if colour else True,
        highlight=False,
        soft_wrap=False,
        markup=False,
        emoji=False,
        width=None if stream.isatty() else _PIPE_WIDTH,
    )


def cell(value: Any) -> Text:
    """A value as a table's cell; a state gets its colour."""
    text = plain(value)
    return Text(text, style=STATE_STYLES.get(text, ""))


def rows(columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> Table:
    """A table with a header line; shows `none` when it is empty."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*map(cell, line))
    if not table.row_count:
        table.add_row("none")
    return table


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
