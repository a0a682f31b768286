"""One name per thing: sanitise and erasure certificate, state, summary, utilization."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.rename_table("erase_certificate", "erasure_certificate")
    for column in ("operation_id", "disk"):
        op.drop_index(f"ix_erase_certificate_{column}", "erasure_certificate")
    op.create_index("ix_erasure_certificate_operation_id", "erasure_certificate", ["operation_id"])
    op.create_index(
        "ix_erasure_certificate_disk", "erasure_certificate", ["server_id", "disk_serial"]
    )
    _rename_column("server_class", "erase_floor", "sanitisation_floor")
    op.drop_index("ix_reservation_status", "reservation")
    _rename_column("reservation", "status", "state")
    op.create_index("ix_reservation_state", "reservation", ["state"])
    _rename_column("operation", "status", "state")
    _rename_column("server_health", "says", "summary")
    _rename_column("health_finding", "says", "summary")
    for table in ("operation", "step_record", "step_log"):
        op.execute(f"UPDATE {table} SET step = 'sanitise_disks' WHERE step = 'wipe'")  # noqa: S608
    _rename_key("server_health", "verdict", "says", "summary")
    _rename_key("bmc_reading", "sensors", "says", "summary")
    _rename_key("health_sample", "gpus", "utilisation_percent", "utilization_percent")


def _rename_column(table: str, old: str, new: str) -> None:
    # Alembic rewrites a whole table for it on SQLite, which can do it in place.
    op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")


def _rename_key(table: str, column: str, old: str, new: str) -> None:
    """In the JSON of a column, whatever object of it has the key."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    text, kept = (f"{column}::text", "::json") if on_postgresql else (column, "")
    op.execute(
        sa.text(f"UPDATE {table} SET {column} = REPLACE({text}, :old, :new){kept}").bindparams(  # noqa: S608
            old=f'"{old}":', new=f'"{new}":'
        )
    )
