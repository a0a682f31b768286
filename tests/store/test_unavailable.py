"""A database outage is distinguished from a bug."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from provisioner.store.database import Database, DatabaseUnavailable
from provisioner.store.migrate import migrate
from provisioner.store.tables import Account


async def _read(database: Database) -> None:
    async with database.read() as session:
        await session.exec(select(Account.name))


async def _write(database: Database) -> None:
    async with database.write() as session:
        session.add(Account(name="a", email="a@example.org"))


@pytest.mark.parametrize("server", ["127.0.0.1:1/nothing", "/nothing?host=/nowhere"])
async def test_a_database_that_is_not_there_is_named_without_its_password(server: str) -> None:
    database = Database(f"postgresql://somebody:secret@{server}")
    for ask in (migrate, _read, _write):
        with pytest.raises(DatabaseUnavailable, match=r"somebody.*does not work") as told:
            await ask(database)
        assert "secret" not in str(told.value)
    await database.close()


async def test_a_file_that_cannot_be_opened_is_an_outage(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/gone/ironlease.db")
    (tmp_path / "gone").rmdir()
    for ask in (migrate, _read, _write):
        with pytest.raises(DatabaseUnavailable, match="unable to open"):
            await ask(database)
    await database.close()


async def test_a_wrong_statement_is_none(any_database: Database) -> None:
    with pytest.raises(DBAPIError):
        async with any_database.read() as session:
            await (await session.connection()).execute(text("SELECT nothing FROM nowhere"))


async def test_what_the_body_of_a_session_raises_is_none(any_database: Database) -> None:
    with pytest.raises(FileNotFoundError):
        async with any_database.write():
            raise FileNotFoundError
