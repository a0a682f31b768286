"""What operators had asked for before there was a queue is in the queue afterwards."""

from alembic import command
from sqlalchemy import Connection, text
from sqlmodel import select

from provisioner.domain.lifecycle import RequestOutcome, RequestVerb
from provisioner.store.database import Database
from provisioner.store.migrate import configuration, migrate
from provisioner.store.tables import ServerRequest

_BEFORE = "0008"


def _fill(connection: Connection) -> None:
    """Two servers, of which one is to go into maintenance."""
    command.upgrade(configuration(connection), _BEFORE)
    values = {
        "price_micro_per_hour": 1,
        "revision": 0,
        "bmc_port": 623,
        "attention": 0,
        "expect": "{}",
        "facts": "{}",
        "sanitisation_floor": "clear",
        "state": "available",
        "class_name": "sim",
    }
    _insert(connection, "server_class", {**values, "name": "sim"})
    for name, intent in (("a", "maintain"), ("b", "")):
        _insert(connection, "server", {**values, "name": name, "id": name, "intent": intent})


def _insert(connection: Connection, table: str, values: dict[str, object]) -> None:
    """A row: what is not given is the server's name, or a time."""
    columns = connection.execute(text(f"SELECT * FROM {table}")).keys()
    row = {
        name: values.get(name, "2026-01-01 00:00:00" if name in _TIMES else values["name"])
        for name in columns
        if name not in _LEFT_OUT
    }
    names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), row)


_TIMES = {"state_since", "last_used_at", "enrolled_at"}
_LEFT_OUT = {"bmc_lost_at", "due_at", "claim_expires_at"}


async def test_an_intent_that_waits_becomes_a_request(tmp_path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.db'}")
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(_fill)
        await migrate(database)
        async with database.read() as session:
            (request,) = (await session.exec(select(ServerRequest))).all()
    finally:
        await database.close()
    assert (request.server_id, request.verb) == ("a", RequestVerb.MAINTAIN)
    assert (request.outcome, request.ended_at) == (RequestOutcome.WAITING, None)
