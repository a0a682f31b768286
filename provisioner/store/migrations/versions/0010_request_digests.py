"""A reservation keeps a digest of its request: an idempotency key is of one request."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("reservation", sa.Column("request_digest", sa.String(), nullable=True))
