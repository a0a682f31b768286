"""What a read session sees."""

from sqlmodel import select, update

from provisioner.store.database import Database
from provisioner.store.tables import Account


async def test_a_read_session_sees_one_moment(any_database: Database) -> None:
    """A page built from several queries shows nothing half done."""
    async with any_database.write() as session:
        session.add(Account(name="before", email="a@example.org"))
    name = select(Account.name)
    async with any_database.read() as reading:
        assert (await reading.exec(name)).one() == "before"
        async with any_database.write() as session:
            await session.exec(update(Account).values(name="after"))
        assert (await reading.exec(name)).one() == "before"
    async with any_database.read() as reading:
        assert (await reading.exec(name)).one() == "after"
