"""What all tests share: a PostgreSQL server for the run, and empty databases."""

import gc
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from processors import ByProcessor

from provisioner.store.database import Database
from provisioner.store.migrate import migrate

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
                seconds[Path(report.nodeid).parts[1]] += report.duration
    if seconds:
        terminalreporter.section("seconds by layer")
        for layer, spent in seconds.most_common():
            terminalreporter.line(f"{spent:8.0f}  {layer}")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByProcessor | None:
    return ByProcessor(config, log) if config.getoption("dist") == "loadscope" else None


def _server_programs() -> Path:
    """Return where Debian keeps initdb and pg_ctl."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.fail("PostgreSQL is not installed: run `make system`")
    return found[-1].parent


class PostgresqlServer:
    """A server for one test, on a Unix socket; `url` is without the database's name."""

    def __init__(self) -> None:
        self._programs = _server_programs()
        self._folder = Path(mkdtemp(prefix="ilpg"))
        # PostgreSQL refuses to run as root.
        self._as_owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as_owner:
            shutil.chown(self._folder, "postgres")
        self.url = f"postgresql://ironlease@/{{name}}?host={self._folder}"
        self._run("initdb", "-U", "ironlease", "-A", "trust", "--no-sync")

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c fsync=off"
        self._run("pg_ctl", "-o", options, "-l", self._folder / "log", "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "stop")

    def remove(self) -> None:
        if (self._folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *words: str | Path) -> None:
        command = [self._programs / program, "-D", self._folder / "data", *words]
        subprocess.run(
            [*self._as_owner, *map(str, command)],
            check=True,
            capture_output=True,
            cwd=self._folder,
        )


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server, without the database's name."""
    server = PostgresqlServer()
    server.start()
    yield server.url
    server.remove()


@pytest.fixture
def stopped_postgresql() -> Iterator[PostgresqlServer]:
    """A server that the test starts and stops itself."""
    server = PostgresqlServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def new_postgresql_url(postgresql: str) -> Callable[[], Coroutine[Any, Any, str]]:
    """Makes a new, empty PostgreSQL database and returns its URL."""

    async def make() -> str:
        name = f"t{uuid4().hex}"
        admin = Database(postgresql.format(name="postgres"))
        async with admin.engine.connect() as connection:
            autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await autocommit.exec_driver_sql(f"CREATE DATABASE {name}")
        await admin.close()
        return postgresql.format(name=name)

    return make


@pytest.fixture
async def postgresql_url(new_postgresql_url: Callable[[], Coroutine[Any, Any, str]]) -> str:
    """The URL of a new, empty PostgreSQL database."""
    return await new_postgresql_url()


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
    database = Database(empty_database_url)
    await migrate(database)
    yield database
    await database.close()
