"""Indexes for what is looked for all the time in tables that grow for ever."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for column in ("reported_at", "revoked_at"):
        op.drop_index(f"ix_agent_identity_{column}", "agent_identity")
    _create_index_while(
        "revoked_at IS NULL", "ix_agent_identity_live", "agent_identity", "reported_at"
    )
    _create_index_while(
        "revoked_at IS NOT NULL", "ix_agent_identity_revoked", "agent_identity", "revoked_at"
    )
    _create_index_while("ended_at IS NULL", "ix_lease_open_ends_at", "lease", "ends_at")


def _create_index_while(where: str, name: str, table: str, *columns: str) -> None:
    op.create_index(
        name, table, list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
