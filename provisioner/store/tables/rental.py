"""Who rents what: reservations, extensions, leases and their outages."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Column, UniqueConstraint
from sqlmodel import Field, SQLModel

from provisioner.domain.reservations import LeaseEndReason, ReservationState
from provisioner.store.columns import (
    enum_text,
    index_while,
    new_id,
    unique_while,
    utc_column,
    utc_now,
)


class Reservation(SQLModel, table=True):
    """A server of a class, promised for a period."""

    __tablename__ = "reservation"
    __table_args__ = (UniqueConstraint("account_id", "idempotency_key"),)

    id: str = Field(default_factory=lambda: new_id("res"), primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    class_name: str = Field(foreign_key="server_class.name", index=True)
    image_id: str = Field(foreign_key="image.id")
    starts_at: datetime = Field(sa_column=utc_column())
    ends_at: datetime = Field(sa_column=utc_column())
    state: ReservationState = Field(
        default=ReservationState.WAITING, sa_type=enum_text(ReservationState), index=True
    )
    hostname: str
    authorized_keys: list[str] = Field(sa_column=Column(JSON, nullable=False))
    user_data: str = ""
    idempotency_key: str | None = None
    request_digest: str | None = None
    """Of the request that made it; None of older ones."""
    created_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    released_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When the customer gave it back early, or an operator ended it."""


class Extension(SQLModel, table=True):
    """One extension of a reservation; never edited."""

    __tablename__ = "extension"
    __table_args__ = (UniqueConstraint("reservation_id", "idempotency_key"),)

    id: str = Field(default_factory=lambda: new_id("ext"), primary_key=True)
    reservation_id: str = Field(foreign_key="reservation.id", index=True)
    from_end: datetime = Field(sa_column=utc_column())
    """The reservation's end before the extension."""
    to_end: datetime = Field(sa_column=utc_column())
    idempotency_key: str | None = None
    created_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())


class Lease(SQLModel, table=True):
    """One server bound to a reservation; open until the tenant's access is known to be gone."""

    __tablename__ = "lease"
    __table_args__ = (
        unique_while("ended_at IS NULL", "uq_lease_open", "server_id"),
        index_while("ended_at IS NULL", "ix_lease_open_ends_at", "ends_at"),
        index_while("changed_in IS NOT NULL", "ix_lease_changed", "changed_in"),
    )

    id: str = Field(default_factory=lambda: new_id("lse"), primary_key=True)
    reservation_id: str = Field(foreign_key="reservation.id", index=True)
    server_id: str = Field(foreign_key="server.id", index=True)
    bound_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    ends_at: datetime = Field(sa_column=utc_column())
    """End of the tenant's time: the reservation's end, or earlier if released."""
    sequence: int = 1
    """The grant's number: raised by every change of `ends_at`, so that an agent keeps the newest.
    """
    granted_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    """When the grant last changed."""
    changed_in: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    """Number of that change (`store.changes`); None while it is the first grant."""
    certificates: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    """The erasure certificates with which it was handed over."""
    host_key: str = ""
    """The tenant system's SSH host key, public line."""
    host_key_secret: str = ""
    agent_token_secret: str = ""
    ready_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When it was handed over: the customer can log in. Billing begins."""
    stopped_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When its server was switched off on request; None while it runs."""
    started_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When its server was last switched on or reinstalled on request."""
    locked_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When the agent reported that it closed access."""
    unverified_fault_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When its server was quarantined for a fault that only this lease's agent had reported."""
    ended_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When access had ended, as confirmed out of band (power off read back)."""
    end_reason: LeaseEndReason | None = Field(
        default=None, sa_column=Column(enum_text(LeaseEndReason), nullable=True)
    )
    """None while nothing has ended it."""


class Outage(SQLModel, table=True):
    """An interval of a lease in which the server was unusable."""

    __tablename__ = "outage"
    __table_args__ = (unique_while("ended_at IS NULL", "uq_outage_open", "lease_id"),)

    id: str = Field(default_factory=lambda: new_id("out"), primary_key=True)
    lease_id: str = Field(foreign_key="lease.id", index=True)
    began_at: datetime = Field(sa_column=utc_column())
    ended_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    reason: str
