"""A world per test, on SQLite in a file of its own."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from world import Clock, World

from provisioner.store.database import Database
from provisioner.store.migrate import migrate


class Pool(NamedTuple):
    """A world as it was left when all of its servers were available, and what its clock said."""

    folder: Path
    at: datetime


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    return sqlite_database


@pytest.fixture
async def enrolled(database: Database, tmp_path: Path) -> World:
    """One server that was just enrolled."""
    world = World(database, tmp_path)
    await world.enrol()
    return world


@pytest.fixture(scope="session")
def pools() -> dict[int, Pool]:
    """By number of servers: each is played once, and copied."""
    return {}


@pytest.fixture
async def new_pool(
    pools: dict[int, Pool], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[[int], Awaitable[World]]]:
    """Makes the test's world, of so many servers that are available."""
    opened = []

    async def new(servers: int) -> World:
        if servers not in pools:
            pools[servers] = await _filled(tmp_path_factory.mktemp("pool"), servers)
        folder, at = pools[servers]
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        opened.append(_database(tmp_path))
        return World(opened[-1], tmp_path, servers=servers, clock=Clock(at - datetime.now(UTC)))

    yield new
    for database in opened:
        await database.close()


@pytest.fixture
async def world(new_pool: Callable[[int], Awaitable[World]]) -> World:
    """One server that is available."""
    return await new_pool(1)


@pytest.fixture
async def two_servers(new_pool: Callable[[int], Awaitable[World]]) -> World:
    return await new_pool(2)


async def _filled(folder: Path, servers: int) -> Pool:
    database = _database(folder)
    await migrate(database)
    world = World(database, folder, servers=servers)
    await world.enrol()
    await world.settle()
    await database.close()
    return Pool(folder, world.clock())


def _database(folder: Path) -> Database:
    return Database(f"sqlite:///{folder / 'ironlease.db'}")
