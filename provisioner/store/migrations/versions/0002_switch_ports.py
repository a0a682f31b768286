"""The switch port of a server."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column(
        "server", sa.Column("switch_port", sa.String(), nullable=False, server_default="")
    )
