"""What all answers share: plain models, pages of lists, seconds between two times."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
R = TypeVar("R")


class View(BaseModel):
    model_config = ConfigDict(populate_by_name=True)


class Page(View, Generic[T]):
    """Part of a list; `next` is the cursor of the part after it, null at the end."""

    items: list[T]
    next: str | None = None


class PageQuery(BaseModel):
    """Which part of a list is asked for."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=200)

    @property
    def fetch(self) -> int:
        """Rows to read: one more than shown tells whether there is a next page."""
        return self.limit + 1


def page(
    query: PageQuery, rows: Sequence[R], cursor: Callable[[R], str]
) -> tuple[Sequence[R], str | None]:
    """The rows to show of those fetched, and the cursor of the next page."""
    shown = rows[: query.limit]
    return shown, cursor(shown[-1]) if len(rows) > query.limit else None


def seconds_between(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else round((end - start).total_seconds(), 3)
