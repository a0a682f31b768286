"""Tables that fit the terminal: what does not fit on a row's line is left out or put below it.

A column is one of three kinds. Plain ones are always on the row's line. Those made by `extra` are
there if they fit, and with `--wide`. Those made by `prose` hold sentences, which go below the row
if the terminal is narrow.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from provisioner.rackctl.formats import local_time, plain, short_time

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

PIPE_WIDTH = 400
"""Columns when the output is not a terminal: rows stay on one line, for grep and friends."""
_GAP = "  "
_INDENT = "    "
_NARROWEST = 6
"""Characters that a cell keeps when its column is cut."""
_SHORTEST_ID = 8
"""Characters after the prefix that a short identifier has at least."""


class TableConsole(Console):
    """A console that knows whether its tables are to be shown whole."""

    everything = False


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is written shorter where there is less room."""

    whole: str
    """With `--wide`."""
    line: str
    """Where every column fits on one line, or the output is not a terminal."""
    narrow: str


def moment(text: str | None) -> Value:
    """A time from the API, with its zone and date where there is room."""
    full = local_time(text)
    return Value(full, full, short_time(text))


class Ids:
    """Identifiers of one list, as short as tells them apart in it."""

    def __init__(self, ids: Iterable[str | None]) -> None:
        known = sorted({id for id in ids if id})
        self._length = _SHORTEST_ID
        for one, other in pairwise(known):
            self._length = max(self._length, _common(_body(one), _body(other)) + 1)

    def __call__(self, identifier: str | None) -> Value:
        if not identifier:
            return Value("", "", "")
        prefix, mark, rest = identifier.partition("_")
        short = prefix + mark + rest[: self._length]
        return Value(identifier, short, short)


def _body(identifier: str) -> str:
    return identifier.partition("_")[2]


def _common(one: str, other: str) -> int:
    """The length of what both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


@dataclass(frozen=True, slots=True)
class Column:
    head: str
    is_extra: bool = False
    is_prose: bool = False


def extra(head: str) -> Column:
    """A column that is left out where there is no room for it."""
    return Column(head, is_extra=True)


def prose(head: str) -> Column:
    """A column of sentences."""
    return Column(head, is_prose=True)


def cell(value: Any) -> Text:
    """A value as a table's cell; a state gets its colour."""
    text = plain(value)
    return Text(text, style=STATE_STYLES.get(text, ""))


class Rows:
    """A table with a header line; shows `none` when it is empty."""

    def __init__(self, columns: Sequence[Column], lines: Sequence[Sequence[Any]]) -> None:
        self._columns = columns
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        everything = isinstance(console, TableConsole) and console.everything
        one_line = self._table("whole" if everything else "line")
        measured = Measurement.get(console, options.update(max_width=100_000), one_line)
        if everything or measured.maximum <= options.max_width or options.max_width >= PIPE_WIDTH:
            yield one_line
        else:
            yield from self._narrow(console, options.max_width)

    def _table(self, form: str) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in self._columns:
            table.add_column(column.head, overflow="fold")
        for line in self._lines:
            table.add_row(*(_formed(value, form) for value in line))
        if not self._lines:
            table.add_row("none")
        return table

    def _narrow(self, console: Console, width: int) -> Iterator[Text]:
        """Rows on one line each, cut where needed, with their sentences below."""
        cells = [[_formed(value, "narrow") for value in line] for line in self._lines]
        widths = {
            place: max(cell_len(column.head), *(cell_len(row[place].plain) for row in cells))
            for place, column in enumerate(self._columns)
            if not column.is_prose
        }
        self._fit(widths, width)
        yield _padded([Text(self._columns[p].head, style="bold") for p in widths], widths.values())
        for row in cells:
            yield _padded([row[place] for place in widths], widths.values())
            for place, column in enumerate(self._columns):
                if column.is_prose and row[place].plain:
                    yield from _below(console, column.head.lower(), row[place], width)

    def _fit(self, widths: dict[int, int], width: int) -> None:
        """Leave out extra columns from the right, then cut the widest, until the line fits."""

        def excess() -> int:
            return sum(widths.values()) + len(_GAP) * (len(widths) - 1) - width

        for place in sorted(widths, reverse=True):
            if excess() > 0 and self._columns[place].is_extra:
                del widths[place]
        while excess() > 0 and max(widths.values()) > _NARROWEST:
            widest = max(widths, key=lambda place: widths[place])
            widths[widest] -= 1


def _formed(value: Any, form: str) -> Text:
    return cell(getattr(value, form) if isinstance(value, Value) else value)


def _padded(cells: Sequence[Text], widths: Iterable[int]) -> Text:
    line = Text()
    for text, width in zip(cells, widths, strict=True):
        text.truncate(width, overflow="ellipsis", pad=True)
        line.append_text(text)
        line.append(_GAP)
    line.rstrip()
    line.no_wrap = True
    return line


def _below(console: Console, label: str, text: Text, width: int) -> Iterator[Text]:
    """A labelled sentence in the lines below a row; a command to copy stays in one piece."""
    room = width - len(_INDENT)
    whole = Text.assemble((f"{label}: ", "dim"), text)
    if cell_len(whole.plain) > room:
        before, command, _ = whole.plain.partition("rackctl ")
        if command and before.rstrip():
            parts = whole.divide([len(before)])
            yield from _wrapped(console, parts[0], room)
            whole = parts[1]
    yield from _wrapped(console, whole, room)


def _wrapped(console: Console, text: Text, room: int) -> Iterator[Text]:
    text.rstrip()
    for line in text.wrap(console, room, overflow="fold"):
        line.rstrip()
        yield Text(_INDENT).append_text(line)


def rows(columns: Sequence[str | Column], lines: Iterable[Sequence[Any]]) -> Rows:
    return Rows(
        [Column(column) if isinstance(column, str) else column for column in columns],
        [tuple(line) for line in lines],
    )
