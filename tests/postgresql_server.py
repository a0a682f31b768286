"""A PostgreSQL server of the tests' own."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import pytest


class PostgresqlServer:
    """A server on a Unix socket; `url` is without the database's name."""

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

    def create_database(self, template: str = "template1") -> str:
        name = f"t{uuid4().hex}"
        self._client("createdb", "--template", template, name)
        return name

    def drop_database(self, name: str) -> None:
        self._client("dropdb", "--force", name)

    def _client(self, program: str, *words: str) -> None:
        command = [self._programs / program, "-h", self._folder, "-U", "ironlease", *words]
        subprocess.run([*self._as_owner, *map(str, command)], check=True, cwd=self._folder)

    def _run(self, program: str, *words: str | Path) -> None:
        command = [self._programs / program, "-D", self._folder / "data", *words]
        subprocess.run(
            [*self._as_owner, *map(str, command)],
            check=True,
            capture_output=True,
            cwd=self._folder,
        )


def _server_programs() -> Path:
    """Return where Debian keeps initdb and pg_ctl."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.fail("PostgreSQL is not installed: run `make system`")
    return found[-1].parent
