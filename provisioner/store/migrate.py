"""Brings a database to the current schema, whatever version it is at."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from provisioner.store.database import Database


def configuration(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


async def migrate(database: Database) -> None:
    """Run every migration that the database has not seen; safe to call at each start.

    Raises DatabaseUnavailable.
    """
    with database.available(OSError):
        async with database.engine.begin() as connection:
            await connection.run_sync(lambda sync: command.upgrade(configuration(sync), "head"))
