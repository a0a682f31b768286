"""Numbers the changes that other processes have to pick up, so that none is missed whatever
anybody's clock says, and however late its transaction commits.

On PostgreSQL a change has the number of its transaction, and a reader's snapshot knows below which
number every transaction had ended. SQLite has one writer at a time, so it can count.
"""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

_COUNTED = (
    "(SELECT COALESCE(MAX(number), 0) + 1 FROM ("
    "SELECT MAX(changed_in) AS number FROM agent_identity WHERE changed_in IS NOT NULL"
    " UNION ALL SELECT MAX(changed_in) FROM lease WHERE changed_in IS NOT NULL))"
)


class _Number(ColumnElement[int]):
    inherit_cache = True
    type = BigInteger()


class _OfThisTransaction(_Number):
    inherit_cache = True


class _OfWhatIsNotSeen(_Number):
    inherit_cache = True


@compiles(_Number, "sqlite")
def _count(element: _Number, compiler: SQLCompiler, **_: Any) -> str:
    return _COUNTED


@compiles(_OfThisTransaction, "postgresql")
def _transaction(element: _Number, compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)"


class _BeyondAllSeen(_Number):
    inherit_cache = True


@compiles(_BeyondAllSeen, "postgresql")
def _end(element: _Number, compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT)"


@compiles(_OfWhatIsNotSeen, "postgresql")
def _horizon(element: _Number, compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)"


def change_number() -> Any:
    """The value of `changed_in` for a row that is changed in this transaction."""
    return _OfThisTransaction()


def seen_since(changed_in: Any, number: int) -> ColumnElement[bool]:
    """Whether a row was changed under this number or a later one. Rows that were restored into
    another PostgreSQL server may have numbers that it has yet to reach: they are old."""
    return and_(changed_in >= number, changed_in < _BeyondAllSeen())


async def first_unseen(session: AsyncSession) -> int:
    """All changes that this session cannot see will have this number or a higher one."""
    found = await session.exec(select(_OfWhatIsNotSeen()))
    return found.one()
