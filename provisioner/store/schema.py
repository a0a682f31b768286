"""`schema.sql` from the tables: one text that PostgreSQL and SQLite both accept."""

from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import SQLModel

from provisioner.store import tables  # noqa: F401 - fills the metadata

_HEADER = """\
-- Ironlease's schema, for PostgreSQL 15 and SQLite. Made by `make schema` from the tables in
-- provisioner/store/tables; tests hold it equal to what the models and the migrations create.
"""


def schema_sql() -> str:
    """Return every CREATE statement, tables in the order of their references."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    parts = [_HEADER]
    for table in SQLModel.metadata.sorted_tables:
        parts.append(str(CreateTable(table).compile(dialect=dialect)).strip() + ";\n")
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        parts += [str(CreateIndex(i).compile(dialect=dialect)).strip() + ";\n" for i in indexes]
    lines = "\n".join(parts).replace("\t", "    ").splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


if __name__ == "__main__":
    print(schema_sql(), end="")  # noqa: T201
