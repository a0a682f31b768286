"""A write that is cancelled leaves an SQLite database free for the next one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from provisioner.store.database import Database

# Long enough to be cancelled while the first of its rows are written.
_SLOW = text(
    "INSERT INTO t WITH RECURSIVE n(i) AS "
    "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT max(i) + :a FROM n"
)


async def _write(database: Database, rows: int) -> None:
    async with database.write() as session:
        connection = await session.connection()
        await connection.execute(_SLOW, [{"a": number} for number in range(rows)])


async def test_a_cancelled_write_holds_no_lock(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/test.db")
    async with database.write() as session:
        await (await session.connection()).exec_driver_sql("CREATE TABLE t (a)")
    loop = asyncio.get_running_loop()

    def cancel_soon(*said: Any) -> None:
        if "RECURSIVE" in said[2]:
            loop.call_later(0.02, task.cancel)

    event.listen(database.engine.sync_engine, "before_cursor_execute", cancel_soon)
    task = asyncio.create_task(_write(database, rows=20))
    with pytest.raises(asyncio.CancelledError) as kept:  # with its frames, as a log keeps them
        await task
    event.remove(database.engine.sync_engine, "before_cursor_execute", cancel_soon)
    async with asyncio.timeout(20):
        await _write(database, rows=1)
    assert kept.value is not None
    await database.close()
