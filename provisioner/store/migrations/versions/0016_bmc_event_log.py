"""The BMC's event log is read from where it was left."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("bmc_reading", sa.Column("log", sa.JSON(), nullable=True))
