"""Kinds of incidents and reasons of leases' ends are closed sets."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_INCIDENT_INDEXES = {
    "uq_incident_open": (["server_id", "kind"], "closed_at IS NULL"),
    "uq_incident_open_fleet": (["kind"], "closed_at IS NULL AND server_id IS NULL"),
}


def upgrade() -> None:
    for name in _INCIDENT_INDEXES:
        op.drop_index(name, "incident")
    _replace_text("incident", "kind", nullable=False)
    for name, (columns, where) in _INCIDENT_INDEXES.items():
        op.create_index(
            name,
            "incident",
            columns,
            unique=True,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
    _replace_text("lease", "end_reason", nullable=True)


def _replace_text(table: str, column: str, *, nullable: bool) -> None:
    """Bound a column's length; an empty text becomes NULL where that is allowed.

    SQLite cannot alter a column in place: a new one takes the old one's name.
    """
    default = None if nullable else ""
    op.add_column(
        table,
        sa.Column("new_text", sa.String(40), nullable=nullable, server_default=default),
    )
    value = f"NULLIF({column}, '')" if nullable else column
    op.execute(f"UPDATE {table} SET new_text = {value}")  # noqa: S608
    op.drop_column(table, column)
    op.execute(f"ALTER TABLE {table} RENAME COLUMN new_text TO {column}")
