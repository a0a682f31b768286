"""Sessions of people logged in by password: one row each, so that any can be ended at once."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.store.tables import WebSession

LIFETIME = timedelta(hours=12)


async def begin_session(session: AsyncSession, account_id: str, now: datetime) -> WebSession:
    """Begin a session, and forget those of the account that are too old to matter."""
    await session.exec(
        delete(WebSession).where(
            col(WebSession.account_id) == account_id, col(WebSession.expires_at) <= now
        )
    )
    row = WebSession(account_id=account_id, created_at=now, expires_at=now + LIFETIME)
    session.add(row)
    await session.flush()
    return row


async def is_live(session: AsyncSession, session_id: str, account_id: str, now: datetime) -> bool:
    row = await session.get(WebSession, session_id)
    return (
        row is not None
        and row.account_id == account_id
        and row.ended_at is None
        and now < row.expires_at
    )


async def end_session(session: AsyncSession, session_id: str, now: datetime) -> None:
    await _end(session, col(WebSession.id) == session_id, now)


async def end_sessions_of(session: AsyncSession, account_id: str, now: datetime) -> None:
    await _end(session, col(WebSession.account_id) == account_id, now)


async def _end(session: AsyncSession, which: ColumnElement[bool], now: datetime) -> None:
    await session.exec(
        update(WebSession).where(which, col(WebSession.ended_at).is_(None)).values(ended_at=now)
    )
