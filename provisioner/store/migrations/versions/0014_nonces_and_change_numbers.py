"""A boot keeps the digest of its requester's nonce; changes that all processes read are numbered
by the database rather than dated by somebody's clock."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_OLD_INDEXES = {"lease": "ix_lease_granted_at", "agent_identity": "ix_agent_identity_revoked"}
_NUMBERED = sa.text("changed_in IS NOT NULL")


def upgrade() -> None:
    op.add_column("boot", sa.Column("nonce_hash", sa.String(), nullable=False, server_default=""))
    for table, index in _OLD_INDEXES.items():
        op.drop_index(index, table)
        op.add_column(table, sa.Column("changed_in", sa.BigInteger(), nullable=True))
        op.create_index(
            f"ix_{table}_changed",
            table,
            ["changed_in"],
            sqlite_where=_NUMBERED,
            postgresql_where=_NUMBERED,
        )
