"""The outcome of a step is one of a closed set; a step that ended without one was interrupted."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    with op.batch_alter_table("step_record") as step_record:
        step_record.alter_column("outcome", existing_type=sa.String(), type_=sa.String(40))
    op.execute(
        "UPDATE step_record SET outcome = 'interrupted', ended_at = ("
        "SELECT operation.ended_at FROM operation WHERE operation.id = step_record.operation_id"
        ") WHERE ended_at IS NULL AND operation_id IN ("
        "SELECT id FROM operation WHERE ended_at IS NOT NULL)"
    )
    op.execute("UPDATE step_record SET outcome = 'waiting' WHERE outcome = ''")
