"""Incidents are acknowledged, assigned and noted."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("incident", sa.Column("acknowledged_at", _TIME, nullable=True))
    # Alembic would rewrite the table for a reference on SQLite, and delete what refers to it.
    for column in ("acknowledged_by", "assignee_id"):
        op.execute(f"ALTER TABLE incident ADD COLUMN {column} VARCHAR REFERENCES account (id)")
    op.create_table(
        "incident_note",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("incident_id", sa.String(), sa.ForeignKey("incident.id"), nullable=False),
        sa.Column("account_id", sa.String(), sa.ForeignKey("account.id"), nullable=True),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("text", sa.String(), nullable=False),
    )
    op.create_index("ix_incident_note_incident_id", "incident_note", ["incident_id"])
