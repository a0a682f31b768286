"""What all tests share: a PostgreSQL server for the run, and empty databases."""

import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
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
    made: list[str] = []

    def make() -> str:
        made.append(postgresql.create_database())
        return postgresql.url.format(name=made[-1])

    yield make
    for name in made:
        postgresql.drop_database(name)


@pytest.fixture
def postgresql_url(new_postgresql_url: Callable[[], str]) -> str:
    """The URL of a new, empty PostgreSQL database."""
    return new_postgresql_url()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ironlease.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
async def any_database(empty_database_url: str) -> AsyncIterator[Database]:
    """A migrated database of each kind."""
    async with _migrated(empty_database_url) as database:
        yield database


@pytest.fixture
async def postgresql_database(postgresql_url: str) -> AsyncIterator[Database]:
    """A migrated PostgreSQL database."""
    async with _migrated(postgresql_url) as database:
        yield database


@asynccontextmanager
async def _migrated(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await migrate(database)
    yield database
    await database.close()
