"""An incident may be about a reservation."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    with op.batch_alter_table("incident") as incident:
        incident.add_column(sa.Column("reservation_id", sa.String(), nullable=True))
        incident.create_foreign_key(
            "incident_reservation_id_fkey", "reservation", ["reservation_id"], ["id"]
        )
    op.create_index("ix_incident_reservation_id", "incident", ["reservation_id"])
    op.drop_index("uq_incident_open_fleet", "incident")
    _create_unique_while(
        "closed_at IS NULL AND server_id IS NULL AND reservation_id IS NULL",
        "uq_incident_open_fleet",
        "kind",
    )
    _create_unique_while(
        "closed_at IS NULL", "uq_incident_open_reservation", "reservation_id", "kind"
    )


def _create_unique_while(where: str, name: str, *columns: str) -> None:
    op.create_index(
        name,
        "incident",
        list(columns),
        unique=True,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
