"""Who did what, and when."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel

from provisioner.store.columns import new_id, utc_column, utc_now


class AuditEvent(SQLModel, table=True):
    """Who did what, and what happened to a server: never edited."""

    __tablename__ = "audit_event"

    id: str = Field(default_factory=lambda: new_id("evt"), primary_key=True)
    at: datetime = Field(default_factory=utc_now, sa_column=utc_column(index=True))
    actor: str
    """`account:acc_…`, `reconciler`, or `agent:srv_…`."""
    action: str
    subject: str = Field(index=True)
    """Identifier of what it happened to."""
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
