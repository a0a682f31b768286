"""What can be rented: server classes with their prices, and images."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column
from sqlmodel import Field, SQLModel

from provisioner.domain.sanitisation import SanitisationLevel
from provisioner.store.columns import enum_text, new_id, utc_column, utc_now


class ServerClass(SQLModel, table=True):
    """What is sold: one kind of server at one price."""

    __tablename__ = "server_class"

    name: str = Field(primary_key=True)
    title: str
    price_micro_per_hour: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Price of one server for one hour, in millionths of `currency`."""
    currency: str
    sanitisation_floor: SanitisationLevel = Field(
        default=SanitisationLevel.CLEAR, sa_type=enum_text(SanitisationLevel)
    )
    """The weakest sanitisation that is good enough for this class."""
    revision: int = 0
    """Raised by every change of the class's bookings: taking its row lock serialises them."""


class Image(SQLModel, table=True):
    """An operating system that can be installed on a server."""

    __tablename__ = "image"

    id: str = Field(default_factory=lambda: new_id("img"), primary_key=True)
    name: str = Field(unique=True)
    title: str
    digest: str
    """SHA-256 of the manifest in the image library."""
    size_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    boot: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """Root partition, kernel, command line and login user."""
    imported_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
