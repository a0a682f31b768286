"""Health and outages, lease grants, BMC passwords under way, webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TIME = sa.DateTime(timezone=True)
_LONG_AGO = "1970-01-01 00:00:00+00:00"


def upgrade() -> None:
    _widen_known_tables()
    _create_health()
    _create_extensions()
    _create_webhooks()


def _widen_known_tables() -> None:
    op.add_column(
        "server", sa.Column("bmc_next_secret", sa.String(), nullable=False, server_default="")
    )
    op.add_column(
        "server", sa.Column("bmc_enrolled_secret", sa.String(), nullable=False, server_default="")
    )
    op.add_column("server", sa.Column("bmc_lost_at", _TIME, nullable=True))
    op.add_column("lease", sa.Column("sequence", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("lease", sa.Column("granted_at", _TIME, nullable=False, server_default=_LONG_AGO))
    op.create_index("ix_lease_granted_at", "lease", ["granted_at"])
    op.add_column("agent_identity", sa.Column("reported_at", _TIME, nullable=True))
    for column in ("reported_at", "revoked_at"):
        op.create_index(f"ix_agent_identity_{column}", "agent_identity", [column])
    with op.batch_alter_table("incident") as incident:
        incident.alter_column("server_id", existing_type=sa.String(), nullable=True)
        incident.add_column(sa.Column("lease_id", sa.String(), nullable=True))
        incident.create_foreign_key("fk_incident_lease", "lease", ["lease_id"], ["id"])
    op.create_index("ix_incident_lease_id", "incident", ["lease_id"])
    _create_unique_while(
        "closed_at IS NULL AND server_id IS NULL", "uq_incident_open_fleet", "incident", "kind"
    )


def _create_health() -> None:
    op.create_table(
        "server_health",
        sa.Column("server_id", sa.String(), sa.ForeignKey("server.id"), primary_key=True),
        sa.Column("level", sa.String(40), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("says", sa.String(), nullable=False),
        sa.Column("level_since", _TIME, nullable=False),
        sa.Column("judged_at", _TIME, nullable=False),
        sa.Column("verdict", sa.JSON(), nullable=False),
    )
    op.create_index("ix_server_health_level", "server_health", ["level"])
    op.create_table(
        "health_finding",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("server_id", sa.String(), sa.ForeignKey("server.id"), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("level", sa.String(40), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("says", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("seen", _TIME, nullable=False),
        sa.UniqueConstraint("server_id", "boot_id", "rule", "part"),
    )
    op.create_index("ix_health_finding_since", "health_finding", ["since"])
    op.create_table(
        "health_sample",
        sa.Column("server_id", sa.String(), sa.ForeignKey("server.id"), primary_key=True),
        sa.Column("at", _TIME, primary_key=True),
        sa.Column("gpus", sa.JSON(), nullable=False),
    )
    op.create_table(
        "bmc_reading",
        sa.Column("server_id", sa.String(), sa.ForeignKey("server.id"), primary_key=True),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("read_at", _TIME, nullable=True),
        sa.Column("sensors", sa.JSON(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
    )
    op.create_index("ix_bmc_reading_due_at", "bmc_reading", ["due_at"])
    op.create_table(
        "outage",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("lease_id", sa.String(), sa.ForeignKey("lease.id"), nullable=False),
        sa.Column("began_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
    )
    op.create_index("ix_outage_lease_id", "outage", ["lease_id"])
    _create_unique_while("ended_at IS NULL", "uq_outage_open", "outage", "lease_id")


def _create_extensions() -> None:
    op.create_table(
        "extension",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("reservation_id", sa.String(), sa.ForeignKey("reservation.id"), nullable=False),
        sa.Column("from_end", _TIME, nullable=False),
        sa.Column("to_end", _TIME, nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.UniqueConstraint("reservation_id", "idempotency_key"),
    )
    op.create_index("ix_extension_reservation_id", "extension", ["reservation_id"])


def _create_webhooks() -> None:
    op.create_table(
        "webhook",
        sa.Column("account_id", sa.String(), sa.ForeignKey("account.id"), primary_key=True),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("secret_sealed", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_table(
        "webhook_message",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("due_at", _TIME, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delivered_at", _TIME, nullable=True),
        sa.Column("error", sa.String(), nullable=False),
        sa.UniqueConstraint("account_id", "subject", "event"),
    )
    op.create_index("ix_webhook_message_account_id", "webhook_message", ["account_id"])
    op.create_index("ix_webhook_message_due_at", "webhook_message", ["due_at"])


def _create_unique_while(where: str, name: str, table: str, *columns: str) -> None:
    op.create_index(
        name,
        table,
        list(columns),
        unique=True,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
