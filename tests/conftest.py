"""What all tests share: a PostgreSQL server for the run, and empty databases."""

import asyncio
import gc
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from postgresql_server import PostgresqlServer
from processors import ByProcessor

from provisioner.store.database import Database
from provisioner.store.migrate import migrate

pytest_plugins = ("world_fixtures",)

# How long an example takes depends on the machine.
settings.register_profile(
    "untimed", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """Freeze what is loaded by now: scanning it would take a quarter of a test's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What each layer costs: CI has 30 minutes for all of them."""
    seconds: Counter[str] = Counter()
    for outcome in terminalreporter.stats.values():
        for report in outcome:
            if isinstance(report, pytest.TestReport):
                seconds[Path(report.nodeid.partition("::")[0]).parent.name] += report.duration
    if seconds:
        terminalreporter.section("seconds by layer")
        for layer, spent in seconds.most_common():
            terminalreporter.line(f"{spent:8.0f}  {layer}")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByProcessor | None:
    return ByProcessor(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """The server that all tests share."""
    server = PostgresqlServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def stopped_postgresql() -> Iterator[PostgresqlServer]:
    """A server that the test starts and stops itself."""
    server = PostgresqlServer()
    yield server
    server.remove()


@pytest.fixture
def new_postgresql_url(postgresql: PostgresqlServer) -> Iterator[Callable[[], str]]:
    """Makes a new, empty PostgreSQL database and returns its URL; it is dropped after the test."""
    with _postgresql_databases(postgresql) as make:
        yield make


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database, which tests copy: all migrations together take a second."""
    file = tmp_path_factory.mktemp("migrated") / "ironlease.db"
    asyncio.run(_migrate(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def migrated_template(postgresql: PostgresqlServer) -> str:
    """The name of a migrated PostgreSQL database, which tests copy."""
    name = postgresql.create_database()
    asyncio.run(_migrate(postgresql.url.format(name=name)))
    return name


@pytest.fixture
async def sqlite_database(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated SQLite database, `ironlease.db` in the test's folder."""
    file = shutil.copy(migrated_file, tmp_path)
    async with _opened(f"sqlite:///{file}") as database:
        yield database


@pytest.fixture
def migrated_postgresql_url(postgresql: PostgresqlServer, migrated_template: str) -> Iterator[str]:
    with _postgresql_databases(postgresql, migrated_template) as make:
        yield make()


@pytest.fixture
async def postgresql_database(migrated_postgresql_url: str) -> AsyncIterator[Database]:
    """A migrated PostgreSQL database."""
    async with _opened(migrated_postgresql_url) as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request: pytest.FixtureRequest) -> Database:
    """A migrated database of each kind."""
    database: Database = request.getfixturevalue(f"{request.param}_database")
    return database


@contextmanager
def _postgresql_databases(
    server: PostgresqlServer, template: str = "template1"
) -> Iterator[Callable[[], str]]:
    made: list[str] = []

    def make() -> str:
        made.append(server.create_database(template))
        return server.url.format(name=made[-1])

    yield make
    for name in made:
        server.drop_database(name)


async def _migrate(url: str) -> None:
    async with _opened(url) as database:
        await migrate(database)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    yield database
    await database.close()
