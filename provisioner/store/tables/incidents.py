"""What needs a person's attention."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from provisioner.domain.incidents import IncidentKind
from provisioner.store.columns import enum_text, new_id, unique_while, utc_column, utc_now


class Incident(SQLModel, table=True):
    """A failure that somebody owns until it is closed.

    At most one is open per server or reservation and kind, and one per kind for the whole fleet.
    """

    __tablename__ = "incident"
    __table_args__ = (
        unique_while("closed_at IS NULL", "uq_incident_open", "server_id", "kind"),
        unique_while("closed_at IS NULL", "uq_incident_open_reservation", "reservation_id", "kind"),
        unique_while(
            "closed_at IS NULL AND server_id IS NULL AND reservation_id IS NULL",
            "uq_incident_open_fleet",
            "kind",
        ),
    )

    id: str = Field(default_factory=lambda: new_id("inc"), primary_key=True)
    server_id: str | None = Field(default=None, foreign_key="server.id", index=True)
    """None if it concerns no single server."""
    reservation_id: str | None = Field(default=None, foreign_key="reservation.id", index=True)
    """The reservation that it concerns, if that has no server."""
    operation_id: str | None = Field(default=None, foreign_key="operation.id")
    lease_id: str | None = Field(default=None, foreign_key="lease.id", index=True)
    """The lease that it affects; its customer is notified."""
    kind: IncidentKind = Field(sa_type=enum_text(IncidentKind))
    reason: str
    next_action: str
    opened_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    closed_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    acknowledged_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When an operator first said that they know of it."""
    acknowledged_by: str | None = Field(default=None, foreign_key="account.id")
    assignee_id: str | None = Field(default=None, foreign_key="account.id")
    """The operator who works on it."""


class IncidentNote(SQLModel, table=True):
    """What an operator noted on an incident; never edited."""

    __tablename__ = "incident_note"

    id: str = Field(default_factory=lambda: new_id("note"), primary_key=True)
    incident_id: str = Field(foreign_key="incident.id", index=True)
    account_id: str | None = Field(default=None, foreign_key="account.id")
    """None if the provisioner itself wrote it."""
    at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    text: str
