"""What all responses share: plain models, pages of lists, seconds between two times."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement
from sqlmodel import col

T = TypeVar("T")
R = TypeVar("R")


class View(BaseModel):
    """The model of a response. Every subclass names its schema by `title`, whatever the class is
    called. A field's docstring is its description in the API's document."""

    model_config = ConfigDict(
        populate_by_name=True,
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )


class Page(View, Generic[T]):
    """One page of a list."""

    items: list[T]
    """The entries of this page."""
    next: str | None = None
    """Cursor of the next page, for the parameter `cursor`. Null on the last page."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        return f"{params[0].model_config['title']}Page"


class PageQuery(BaseModel):
    """Which page of a list to return."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    limit: int = Field(default=100, ge=1, le=1000)
    """Entries per page."""
    cursor: str | None = Field(default=None, max_length=200)
    """`next` of the previous page."""

    @property
    def fetch(self) -> int:
        """The number of rows to read: one extra, to see whether there is a next page."""
        return self.limit + 1


class MatchQuery(PageQuery):
    """A list in which one looks for a thing by what is known of it."""

    match: str | None = Field(default=None, min_length=1, max_length=253)
    """Only those whose identifier begins with this, or that have this host or server name."""


def begins(identifier: Any, text: str) -> ColumnElement[bool]:
    """Whether an identifier begins with a text, which may be in any case."""
    prefix, mark, rest = text.partition("_")
    return col(identifier).startswith(prefix.lower() + mark + rest.upper(), autoescape=True)


def page(
    query: PageQuery, rows: Sequence[R], cursor: Callable[[R], str]
) -> tuple[Sequence[R], str | None]:
    """Return the rows to show of those fetched, and the cursor of the next page."""
    shown = rows[: query.limit]
    return shown, cursor(shown[-1]) if len(rows) > query.limit else None


def seconds_between(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else round((end - start).total_seconds(), 3)
