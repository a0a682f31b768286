"""Claims on rows: which process works on one, until when, and the proof that it still does.

A process claims rows that are due, works outside of any transaction, and writes its results only
while its token is still on the row. Any process may take over an expired claim; the first owner's
results are then discarded (:class:`ClaimLost`).
"""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from sqlalchemy import ColumnElement, case, or_, tuple_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.store.columns import AT_ONCE
from provisioner.store.database import Database


class Claimable(Protocol):
    """A table whose rows can be claimed."""

    id: str
    due_at: datetime | None
    """When to process the row next; None means not until something happens."""
    attention: int
    """Incremented by every new fact that makes the row due."""
    claim_owner: str
    claim_token: str
    """Empty while the row is unclaimed."""
    claim_expires_at: datetime | None


Row = TypeVar("Row", bound=Claimable)


class ClaimLost(Exception):
    """Another process works on this row now: our results are void."""


@dataclass(frozen=True, slots=True)
class Claim(Generic[Row]):
    table: type[Row]
    row_id: str
    token: str
    attention: int
    """The row's attention count when it was claimed."""
    expires: float
    """When the claim expires unless it is renewed, by the event loop's clock."""


def owner_name() -> str:
    """Return the name of this process on this machine."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Claims(Generic[Row]):
    """The claims of one process on one table."""

    def __init__(
        self, database: Database, table: type[Row], *, ttl: timedelta, owner: str = ""
    ) -> None:
        self._database = database
        self._table = table
        self._ttl = ttl
        self._owner = owner or owner_name()
        self._held: dict[Claim[Row], asyncio.Timeout] = {}

    async def claim_due(
        self, now: datetime, limit: int, *where: ColumnElement[bool]
    ) -> list[Claim[Row]]:
        """Claim up to `limit` rows that are due and unclaimed, the longest due first."""
        if limit <= 0:
            return []
        table, token, expires = self._table, secrets.token_hex(16), self._expires()
        free = or_(col(table.claim_expires_at).is_(None), col(table.claim_expires_at) <= now)
        due = (
            select(table.id)
            .where(col(table.due_at) <= now, free, *where)
            .order_by(col(table.due_at))
            .limit(limit)
            # Rows that others are claiming or writing to right now are left for the next time.
            .with_for_update(skip_locked=True, key_share=True)
            .cte("due")
        )
        claimed = (
            update(table)
            .where(col(table.id).in_(select(due.c.id)))
            .values(claim_owner=self._owner, claim_token=token, claim_expires_at=now + self._ttl)
            .returning(col(table.id), col(table.attention))
            .execution_options(synchronize_session=False)
        )
        async with self._database.write() as session:
            rows = (await session.exec(claimed)).all()
        return [Claim(table, row_id, token, attention, expires) for row_id, attention in rows]

    @asynccontextmanager
    async def held(self, claim: Claim[Row]) -> AsyncIterator[None]:
        """Wrap the work on a row, which is cancelled as soon as another process may have taken
        over. Raises ClaimLost."""
        try:
            async with asyncio.timeout_at(claim.expires) as time_left:
                self._held[claim] = time_left
                try:
                    yield
                finally:
                    del self._held[claim]
        except TimeoutError:
            if time_left.expired():
                raise ClaimLost(claim.row_id) from None
            raise

    async def renew(self, now: datetime) -> None:
        """Extend all held claims of which a third of the `ttl` has passed, in one statement. Work
        whose claim is lost is cancelled."""
        table, expires = self._table, self._expires()
        due_by = expires - self._ttl.total_seconds() / 3
        due = {
            (claim.row_id, claim.token): claim
            for claim, time_left in self._held.items()
            if (time_left.when() or 0.0) <= due_by
        }
        if not due:
            return
        mine = tuple_(col(table.id), col(table.claim_token)).in_(list(due))
        # A row that is locked now is renewed the next time: waiting for it while others are
        # locked could deadlock with transactions on several rows.
        free = select(table.id).where(mine).with_for_update(skip_locked=True, key_share=True)
        renewal = (
            update(table)
            .where(col(table.id).in_(select(free.cte("free").c.id)), mine)
            .values(claim_expires_at=now + self._ttl)
            .returning(col(table.id), col(table.claim_token))
            .execution_options(synchronize_session=False)
        )
        async with self._database.write() as session:
            renewed = {tuple(row) for row in await session.exec(renewal)}
            others = select(table.id, table.claim_token).where(mine)
            kept = {tuple(row) for row in await session.exec(others)}
        for key, claim in due.items():
            time_left = self._held.get(claim)
            if time_left is None or time_left.expired():
                continue
            if key in renewed:
                time_left.reschedule(expires)
            elif key not in kept:
                time_left.reschedule(0.0)

    async def release(self, claim: Claim[Row], *, due_at: datetime | None) -> None:
        """Release the row, to be processed again at `due_at`.

        A fact that arrived since the claim makes it due at once. Releasing a lost claim does
        nothing.
        """
        table = self._table
        async with self._database.write() as session:
            await session.exec(
                update(table)
                .where(col(table.id) == claim.row_id, col(table.claim_token) == claim.token)
                .values(
                    claim_owner="",
                    claim_token="",
                    claim_expires_at=None,
                    due_at=case((col(table.attention) == claim.attention, due_at), else_=AT_ONCE),
                )
            )

    def _expires(self) -> float:
        return asyncio.get_running_loop().time() + self._ttl.total_seconds()


async def hold(session: AsyncSession, claim: Claim[Row]) -> Row:
    """Lock the claimed row for this session and return it. Raises ClaimLost."""
    table = claim.table
    held = await session.exec(
        update(table)
        .where(col(table.id) == claim.row_id, col(table.claim_token) == claim.token)
        .values(claim_token=claim.token)
    )
    if held.rowcount == 0:
        raise ClaimLost(claim.row_id)
    row = await session.get_one(table, claim.row_id)
    await session.refresh(row)
    return row
