"""Sessions are rows, tokens know when they were last used, and passwords may serve once."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "web_session",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
    )
    op.create_index("ix_web_session_account_id", "web_session", ["account_id"])
    op.add_column("api_token", sa.Column("last_used_at", _TIME, nullable=True))
    op.add_column(
        "account",
        sa.Column("password_is_temporary", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
