"""The audit trail: who did what, written in the same session as the change itself."""

from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor
from provisioner.store.tables import AuditEvent


def record(
    session: AsyncSession, actor: Actor, action: str, subject: str, at: datetime, **detail: Any
) -> None:
    """Add one event; `detail` is plain JSON and never holds a secret."""
    session.add(AuditEvent(at=at, actor=actor.name, action=action, subject=subject, detail=detail))


def why(reason: str) -> dict[str, str]:
    """The detail of an event for which somebody gave a reason; none if they gave none."""
    return {"reason": reason} if reason else {}
