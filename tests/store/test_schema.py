"""schema.sql, the migrations and the models are one schema, on SQLite and on PostgreSQL."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect
from sqlmodel import SQLModel

from provisioner.store.database import Database
from provisioner.store.migrate import migrate
from provisioner.store.schema import schema_sql

SCHEMA = Path(__file__).parents[2] / "schema.sql"
Create = Callable[[Database], Awaitable[None]]


async def by_models(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)


async def by_schema_sql(database: Database) -> None:
    statements = [s for s in SCHEMA.read_text().split(";\n") if "CREATE" in s]
    async with database.engine.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


def described(connection: Connection) -> dict[str, Any]:
    """Return all that a database knows about its tables, independent of creation order."""
    inspector = inspect(connection)
    tables = [name for name in inspector.get_table_names() if name != "alembic_version"]
    return {
        table: {
            "columns": {c["name"]: _column(c) for c in inspector.get_columns(table)},
            "key": inspector.get_pk_constraint(table)["constrained_columns"],
            "references": sorted(
                (f["constrained_columns"], f["referred_table"], f["referred_columns"])
                for f in inspector.get_foreign_keys(table)
            ),
            "unique": sorted(u["column_names"] for u in inspector.get_unique_constraints(table)),
            "indexes": sorted(
                (i["name"] or "", i["column_names"], bool(i["unique"]), _where(i))
                for i in inspector.get_indexes(table)
                if not i.get("duplicates_constraint")
            ),
        }
        for table in tables
    }


def _column(column: Any) -> tuple[str, bool]:
    # SQLite keeps whatever name a type was given; a point in time reads back as one of three.
    name = str(column["type"])
    return "TIMESTAMP" if name in ("DATETIME", "NUMERIC") else name, column["nullable"]


def _where(index: Any) -> str:
    options = index.get("dialect_options", {})
    where = [options[name] for name in ("postgresql_where", "sqlite_where") if name in options]
    return str(where[0]).strip("()") if where else ""


async def description(url: str, create: Create) -> dict[str, Any]:
    database = Database(url)
    try:
        await create(database)
        async with database.engine.connect() as connection:
            return await connection.run_sync(described)
    finally:
        await database.close()


async def _three_ways(urls: list[str]) -> list[dict[str, Any]]:
    ways: list[Create] = [by_models, migrate, by_schema_sql]
    return [await description(url, way) for url, way in zip(urls, ways, strict=True)]


@pytest.mark.filterwarnings("ignore:Did not recognize type")
async def test_models_migrations_and_schema_sql_are_one_on_sqlite(tmp_path: Path) -> None:
    models, migrations, sql = await _three_ways(
        [f"sqlite:///{tmp_path / name}.db" for name in ("models", "migrations", "sql")]
    )
    assert migrations == models
    assert sql == models


async def test_models_migrations_and_schema_sql_are_one_on_postgresql(
    new_postgresql_url: Callable[[], str],
) -> None:
    models, migrations, sql = await _three_ways([new_postgresql_url() for _ in range(3)])
    assert migrations == models
    assert sql == models


def test_schema_sql_is_up_to_date() -> None:
    assert SCHEMA.read_text() == schema_sql(), "run `make schema`"


async def test_migrating_twice_is_migrating_once(any_database: Database) -> None:
    await migrate(any_database)
