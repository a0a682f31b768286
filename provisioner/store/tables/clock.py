"""How each host of the site keeps time."""

from datetime import datetime

from sqlalchemy import Boolean, Column, false
from sqlmodel import Field, SQLModel

from provisioner.store.columns import utc_column


class HostClock(SQLModel, table=True):
    """The heartbeat of the daemons on one host: the site's time by its clocks, in one boot."""

    __tablename__ = "host_clock"

    boot_id: str = Field(primary_key=True)
    """The kernel's identifier of the boot."""
    host: str
    at: datetime = Field(sa_column=utc_column())
    """The site's time when the host had been up for `boottime_s`."""
    boottime_s: float
    beat_at: datetime = Field(sa_column=utc_column())
    """When this was written, by the database's clock; by the site's on SQLite."""
    problem: str = ""
    """What is wrong with its clock; empty if nothing is."""
    accepted: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=false())
    )
    """An operator said that its wall clock is right, and its daemon has not followed yet."""
