"""Which servers need an operator: `domain.attention` of rows, and the same as a condition in SQL.

A test holds both equal.
"""

from collections.abc import Sequence

from sqlalchemy import and_
from sqlmodel import col, exists, or_

from provisioner.domain.attention import FAULTY_IN, Attention, Report, Standing, attention
from provisioner.domain.health.levels import HealthLevel
from provisioner.domain.lifecycle import OperationState, State
from provisioner.store.tables import Incident, Operation, Server, ServerHealth

NEEDS_ATTENTION = or_(
    col(Server.state) == State.QUARANTINED,
    exists().where(
        col(Operation.server_id) == col(Server.id),
        col(Operation.ended_at).is_(None),
        col(Operation.state) == OperationState.PARKED,
    ),
    exists().where(col(Incident.server_id) == col(Server.id), col(Incident.closed_at).is_(None)),
    and_(
        col(Server.state).in_(FAULTY_IN),
        exists().where(
            col(ServerHealth.server_id) == col(Server.id),
            col(ServerHealth.level) == HealthLevel.FAULTY,
        ),
    ),
)


def attention_of(
    server: Server,
    operation: Operation | None,
    incidents: Sequence[Incident],
    health: ServerHealth | None,
) -> Attention | None:
    """Return why a server needs an operator, or None. The rows are those that are open."""
    return attention(
        Standing(
            state=server.state,
            reason=server.reason,
            next_action=server.next_action,
            is_parked=operation is not None and operation.state is OperationState.PARKED,
            incidents=[Report(row.kind, row.reason, row.next_action) for row in incidents],
            level=health.level if health else None,
            summary=health.summary if health else "",
        )
    )
