"""Hosts keep the site's time, so that a jump of a clock ends no lease; leases remember that their
servers were quarantined on their agents' word alone."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("lease", sa.Column("unverified_fault_at", _TIME, nullable=True))
    op.create_table(
        "host_clock",
        sa.Column("boot_id", sa.String(), primary_key=True),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("boottime_s", sa.Float(), nullable=False),
        sa.Column("beat_at", _TIME, nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
