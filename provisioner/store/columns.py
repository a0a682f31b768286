"""Column types and defaults that all tables share, and what none of them may hold."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic_core import from_json
from sqlalchemy import JSON, BigInteger, Column, DateTime, Enum, Index, Integer, text
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeDecorator, TypeEngine
from ulid import ULID

from provisioner.domain.refusals import Fault
from provisioner.domain.storable import Unstorable, check

AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
"""A due time that has always passed, whatever clock is used."""


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time, always aware in Python; SQLite, which drops the zone, stores UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone is ambiguous: {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonText(TypeDecorator[str]):
    """Text that is JSON already, written into a JSON column unchanged."""

    impl = JSON
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> None:
        return None


_LARGEST_INTEGER = (1 << 31) - 1
_BAD_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL in JSON that is text already; `from_json` accepts no half of a surrogate pair."""


def check_parameters(*arguments: Any) -> None:
    """A listener of the engine: hold the parameters of every statement against `domain.storable`,
    whoever made it, so that no path leads around it. Raises Unstorable that names the column."""
    context = arguments[4]
    if context is None or not isinstance(context.compiled, SQLCompiler):
        return  # it has no parameters
    binds = context.compiled.binds
    for parameters in context.compiled_parameters:
        for name, value in parameters.items():
            _check_parameter(name, value, binds[name].type if name in binds else None)


def _check_parameter(name: str, value: Any, of: TypeEngine[Any] | None) -> None:
    check(value, name)
    if isinstance(of, JsonText) and isinstance(value, str) and _BAD_ESCAPE.search(value):
        raise Unstorable(Fault(name, "NUL characters are not allowed"))
    if isinstance(of, Integer) and not isinstance(of, BigInteger):
        for number in _numbers(value):
            if not -_LARGEST_INTEGER <= number <= _LARGEST_INTEGER:
                raise Unstorable(Fault(name, "the number is too large"))


def _numbers(value: Any) -> Iterator[int]:
    """One, or all of an IN's."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int):
        yield value


def read_json(stored: str | bytes) -> Any:
    """A stored JSON text. One from before `check_parameters` may be what the faster reader does
    not take."""
    try:
        return from_json(stored)
    except ValueError:
        return json.loads(stored)


def utc_column(*, nullable: bool = False, index: bool = False) -> Column[datetime]:
    return Column(UtcDateTime, nullable=nullable, index=index)


def index_while(where: str, name: str, *columns: str, unique: bool = False) -> Index:
    """An index over the rows for which `where` holds."""
    return Index(
        name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where)
    )


def unique_while(where: str, name: str, *columns: str) -> Index:
    """Allow at most one row for which `where` holds, such as one open lease per server."""
    return index_while(where, name, *columns, unique=True)


def new_id(prefix: str) -> str:
    """Return a stable identifier that sorts by creation time, such as `srv_01J…`."""
    return f"{prefix}_{ULID()}"


def utc_now() -> datetime:
    return datetime.now(UTC)


def enum_text(values: type[StrEnum]) -> Enum:
    """Store an enumeration by its value as text, the same on every database."""
    return Enum(
        values,
        native_enum=False,
        create_constraint=False,
        length=40,
        values_callable=lambda e: [m.value for m in e],
    )
