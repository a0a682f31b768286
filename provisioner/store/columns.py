"""Column types and defaults that all tables share."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Enum, Index, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from ulid import ULID

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
