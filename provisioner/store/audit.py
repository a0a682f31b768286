"""The audit trail: who did what, written in the session of the change itself."""

from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.store.tables import AuditEvent


def record(
    session: AsyncSession, actor: str, action: str, subject: str, at: datetime, **detail: Any
) -> None:
    """Add one event; `detail` is plain JSON and never holds a secret."""
    session.add(AuditEvent(at=at, actor=actor, action=action, subject=subject, detail=detail))
