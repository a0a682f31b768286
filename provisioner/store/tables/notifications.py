"""Webhooks: an address per account, and the messages sent there."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, UniqueConstraint
from sqlmodel import Field, SQLModel

from provisioner.store.columns import new_id, utc_column, utc_now


class Webhook(SQLModel, table=True):
    """An account's address for events; the secret signs every message."""

    __tablename__ = "webhook"

    account_id: str = Field(foreign_key="account.id", primary_key=True)
    url: str
    secret_sealed: str
    created_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())


class WebhookMessage(SQLModel, table=True):
    """One event for one account: written with the change it reports, sent until it arrives."""

    __tablename__ = "webhook_message"
    __table_args__ = (UniqueConstraint("account_id", "subject", "event"),)

    id: str = Field(default_factory=lambda: new_id("msg"), primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    subject: str
    """Identifier of what it is about, such as a lease."""
    event: str
    """What happened, so that it is reported once: `lease.ends_in_3600` and that end, say."""
    body: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    due_at: datetime | None = Field(
        default_factory=utc_now, sa_column=utc_column(nullable=True, index=True)
    )
    """When the next attempt is due; None once it was delivered or given up."""
    attempts: int = 0
    delivered_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    error: str = ""
    """Why the last attempt failed."""
