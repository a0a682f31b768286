"""An account may have quotas of its own, in place of the site's."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("account", sa.Column("max_servers", sa.Integer(), nullable=True))
    op.add_column("account", sa.Column("max_duration_s", sa.Integer(), nullable=True))
