"""Requests on servers: a queue of rows takes the place of the one column `server.intent`."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from ulid import ULID

revision = "0009"
down_revision = "0008"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    requests = op.create_table(
        "server_request",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("server_id", sa.String(), sa.ForeignKey("server.id"), nullable=False),
        sa.Column("lease_id", sa.String(), sa.ForeignKey("lease.id"), nullable=True),
        sa.Column("verb", sa.String(40), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("filed_at", _TIME, nullable=False),
        sa.Column("taken_at", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("outcome", sa.String(40), nullable=False),
        sa.Column("failure", sa.String(), nullable=False),
    )
    for column in ("server_id", "lease_id"):
        op.create_index(f"ix_server_request_{column}", "server_request", [column])
    op.create_index(
        "ix_server_request_open",
        "server_request",
        ["server_id"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    # Alembic would rewrite the table for a reference on SQLite, and delete what refers to it.
    op.execute("ALTER TABLE operation ADD COLUMN request_id VARCHAR REFERENCES server_request (id)")
    for column in ("stopped_at", "started_at"):
        op.add_column("lease", sa.Column(column, _TIME, nullable=True))
    _move_intents(requests)
    op.execute("ALTER TABLE server DROP COLUMN intent")


def _move_intents(requests: sa.Table) -> None:
    """What operators asked for, and waits, is in the queue from now on."""
    connection = op.get_bind()
    waiting = connection.execute(sa.text("SELECT id, intent FROM server WHERE intent <> ''")).all()
    for server_id, intent in waiting:
        connection.execute(
            sa.insert(requests).values(
                id=f"req_{ULID()}",
                server_id=server_id,
                verb=intent,
                arguments={},
                actor="provisioner",
                filed_at=datetime.now(UTC),
                outcome="waiting",
                failure="",
            )
        )
