"""A boot keeps the digest of its requester's nonce."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("boot", sa.Column("nonce_hash", sa.String(), nullable=False, server_default=""))
