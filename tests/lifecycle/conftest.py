"""A world per test, on SQLite in a file of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from world import World

from provisioner.store.database import Database
from provisioner.store.migrate import migrate


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'ironlease.db'}")
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> World:
    world = World(database, tmp_path)
    await world.enrol()
    return world


@pytest.fixture
async def two_servers(database: Database, tmp_path: Path) -> World:
    world = World(database, tmp_path, servers=2)
    await world.enrol()
    return world
