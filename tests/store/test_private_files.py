"""What the daemon keeps is private, whatever the umask, and loose files of before are tightened."""

import asyncio
import logging
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from provisioner.drivers.ssh.keys import key_file
from provisioner.private_files import private_folder, write_private_once
from provisioner.store.database import Database
from provisioner.store.migrate import migrate
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import Account


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def used(file: Path) -> dict[str, int]:
    """Use a database, and return the modes of its files while it is open."""
    database = Database(f"sqlite:///{file}")
    await migrate(database)
    async with database.write() as session:
        session.add(Account(name="a", email="a@example.org"))
    async with database.read() as session:
        assert (await session.exec(select(Account.name))).all() == ["a"]
    modes = {path.name: mode(path) for path in sorted(file.parent.iterdir())}
    await database.close()
    return modes


PRIVATE = {"il.db": 0o600, "il.db-shm": 0o600, "il.db-wal": 0o600}


async def test_a_new_database_is_its_owners_alone(tmp_path: Path) -> None:
    assert await used(tmp_path / "srv" / "data" / "il.db") == PRIVATE
    assert mode(tmp_path / "srv") == mode(tmp_path / "srv" / "data") == 0o700


async def test_a_database_that_others_could_read_is_tightened_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in PRIVATE:
        (tmp_path / name).touch(0o644)
    assert await used(tmp_path / "il.db") == PRIVATE
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == len(PRIVATE)
    assert f"{tmp_path / 'il.db'} had mode 0644; it is 0600 now" in warnings[0]


WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
with connection:
    connection.execute("UPDATE account SET name = 'b'")
connection.close()
"""


async def test_a_process_that_leaves_takes_no_other_ones_database_with_it(tmp_path: Path) -> None:
    """Closing any descriptor of the file would end the process's locks on it (fcntl(2)): the other
    process would take itself for the last one and delete the log that this one writes to."""
    file = tmp_path / "il.db"
    await used(file)
    database = Database(f"sqlite:///{file}")
    async with database.read() as first, database.read() as second:  # two connections
        assert (await first.exec(select(Account.name))).all() == ["a"]
        assert (await second.exec(select(Account.name))).all() == ["a"]
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, file)
    assert await writer.wait() == 0
    assert file.with_name("il.db-wal").exists()
    async with database.read() as session:
        assert (await session.exec(select(Account.name))).all() == ["b"]
    await database.close()


def test_keys_of_before_are_tightened(tmp_path: Path) -> None:
    sealed = SecretBox.from_file(tmp_path / "keys" / "secret.key").seal("text")
    _, public = key_file(tmp_path / "keys" / "id_ed25519")
    for path in (tmp_path / "keys").iterdir():
        assert mode(path) == 0o600
        path.chmod(0o640)
    assert SecretBox.from_file(tmp_path / "keys" / "secret.key").open(sealed) == "text"
    assert key_file(tmp_path / "keys" / "id_ed25519")[1] == public
    assert {mode(path) for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_a_key_is_written_whole_and_once(tmp_path: Path) -> None:
    write_private_once(tmp_path / "key", lambda: b"first")
    write_private_once(tmp_path / "key", lambda: b"second")
    assert (tmp_path / "key").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(0o755)
    private_folder(tmp_path / "shared" / "ours")
    assert mode(tmp_path / "shared") == 0o755
    assert mode(tmp_path / "shared" / "ours") == 0o700
