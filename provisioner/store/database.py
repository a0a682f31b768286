"""The only access to the database: short read and write sessions on SQLite or PostgreSQL.

A session never spans a call to the outside world. On SQLite, a write session takes its lock at the
start (BEGIN IMMEDIATE), so that it cannot fail half way because another wrote in the meantime.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import event, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.private_files import private_folder, tighten
from provisioner.store.columns import AT_ONCE, check_parameters, read_json
from provisioner.store.tables import Server

log = logging.getLogger(__name__)

_OUTAGES = (
    *("08", "53", "57P"),
    *(f"SQLITE_{name}" for name in ("BUSY", "CANTOPEN", "FULL", "IOERR", "READONLY")),
)
"""Prefixes of the error codes that mean an outage; any other is a bug.

PostgreSQL's (appendix A of its manual) mean that the connection is lost, that it is out of
resources, or that an operator is stopping or starting it.
"""
_ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


class DatabaseUnavailable(Exception):
    """The database cannot be reached or does not work.

    The request did not take effect, or it is unknown whether it did. The database logs it once;
    callers that can wait retry.
    """


class Database:
    """Sessions on one database, and the wake-up of this process's reconcilers."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.url = parsed.set(drivername=_ASYNC_DRIVERS.get(parsed.drivername, parsed.drivername))
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = self._engine()
        event.listen(self.engine.sync_engine, "before_cursor_execute", check_parameters)
        self.attention = asyncio.Event()
        """Set when a server needs attention, to wake the reconcilers of this process."""
        self._available = True

    def _engine(self) -> AsyncEngine:
        if not self.is_sqlite:
            return create_async_engine(
                self.url, pool_size=10, max_overflow=20, json_deserializer=read_json
            )
        file = Path(self.url.database or "")
        private_folder(file.parent)
        # A connection is a thread: keep them, as creating one per session costs as much again.
        engine = create_async_engine(
            self.url, connect_args={"timeout": 30}, pool_size=20, json_deserializer=read_json
        )

        @event.listens_for(engine.sync_engine, "do_connect")
        def keep_private(*_: Any) -> None:
            with suppress(OSError):  # SQLite says what is wrong with it
                _keep_private(file)

        @event.listens_for(engine.sync_engine, "connect")
        def configure(connection: Any, _: Any) -> None:
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=NORMAL")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

        @event.listens_for(engine.sync_engine, "invalidate")
        def roll_back(connection: Any, _: Any, __: Any) -> None:
            """Roll back explicitly when a statement is cancelled.

            Its connection is closed, but stays open, its transaction locking the database, until
            the last object that refers to the statement is gone.
            """
            connection.run_async(lambda driver: asyncio.shield(driver.rollback()))

        return engine

    @contextmanager
    def available(self, *also: type[Exception]) -> Iterator[None]:
        """Wrap whatever uses the database; `also` are other exceptions that mean it is not there.

        Raises DatabaseUnavailable.
        """
        kinds: tuple[type[Exception], ...] = (DBAPIError, *also)
        try:
            yield
        except kinds as error:
            if isinstance(error, DBAPIError) and not _is_outage(error):
                raise
            reason = str(getattr(error, "orig", error))
            if self._available:
                log.error("the database %s does not work: %s", self.url, reason)
                self._available = False
            raise DatabaseUnavailable(f"the database {self.url} does not work: {reason}") from error
        if not self._available:
            log.info("the database works again")
            self._available = True

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open a session that changes nothing and sees one moment, however many queries it runs."""
        with self.available():
            async with AsyncSession(self.engine, expire_on_commit=False) as session:
                await self._begin(session, "BEGIN", isolation_level="REPEATABLE READ")
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Open a session that commits at its end, or rolls back on any exception."""
        with self.available():
            async with AsyncSession(self.engine, expire_on_commit=False) as session:
                await self._begin(session, "BEGIN IMMEDIATE")
                session.info["attention"] = False
                yield session
                await session.commit()
                if session.info["attention"]:
                    self.attention.set()

    async def _begin(self, session: AsyncSession, on_sqlite: str, **on_postgresql: str) -> None:
        with self.available(OSError):  # from connecting: not an exception of the driver's
            if self.is_sqlite:
                await (await session.connection()).exec_driver_sql(on_sqlite)
            else:
                await session.connection(execution_options=on_postgresql)

    async def close(self) -> None:
        await self.engine.dispose()


def _keep_private(file: Path) -> None:
    """Create the database's file, if it is missing, and tighten it and those beside it.

    SQLite would create it by the umask; the files beside it get the mode of the database. A file
    that is there is never opened: closing it would end this process's locks on it (fcntl(2)).
    """
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for path in (file, *(file.with_name(f"{file.name}-{kind}") for kind in ("wal", "shm"))):
        with suppress(FileNotFoundError):
            tighten(path)


def _is_outage(error: DBAPIError) -> bool:
    codes = (getattr(error.orig, name, None) for name in ("sqlstate", "sqlite_errorname"))
    return error.connection_invalidated or any(str(code).startswith(_OUTAGES) for code in codes)


async def call_attention(session: AsyncSession, server_id: str) -> None:
    """Have a reconciler handle a server's new fact or request at once."""
    await session.exec(
        update(Server)
        .where(col(Server.id) == server_id)
        .values(attention=col(Server.attention) + 1, due_at=AT_ONCE)
    )
    session.info["attention"] = True
