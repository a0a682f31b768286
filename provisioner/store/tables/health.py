"""Servers' health: the last verdict, remembered findings, samples for charts, BMC readings."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, UniqueConstraint
from sqlmodel import Field, SQLModel

from provisioner.domain.health.levels import HealthAction, HealthLevel
from provisioner.store.columns import enum_text, new_id, utc_column


class ServerHealth(SQLModel, table=True):
    """The last verdict about a server; one row per server that was ever judged."""

    __tablename__ = "server_health"

    server_id: str = Field(foreign_key="server.id", primary_key=True)
    level: HealthLevel = Field(sa_type=enum_text(HealthLevel), index=True)
    action: HealthAction = Field(sa_type=enum_text(HealthAction))
    summary: str
    """The worst finding, as a sentence."""
    level_since: datetime = Field(sa_column=utc_column())
    judged_at: datetime = Field(sa_column=utc_column())
    """When it last changed or was confirmed, which is every few minutes while something is wrong.
    """
    verdict: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """`domain.health.Verdict.to_dict`."""


class HealthFinding(SQLModel, table=True):
    """A finding at `degraded` or worse in one boot of a server.

    By it, a fault is recognised after a reboot; it counts towards the server's lemon score.
    """

    __tablename__ = "health_finding"
    __table_args__ = (UniqueConstraint("server_id", "boot_id", "rule", "part"),)

    id: str = Field(default_factory=lambda: new_id("fnd"), primary_key=True)
    server_id: str = Field(foreign_key="server.id")
    boot_id: str
    rule: str
    part: str
    level: HealthLevel = Field(sa_type=enum_text(HealthLevel))
    action: HealthAction = Field(sa_type=enum_text(HealthAction))
    summary: str
    source: str
    since: datetime = Field(sa_column=utc_column(index=True))
    seen: datetime = Field(sa_column=utc_column())


class HealthSample(SQLModel, table=True):
    """What a chart draws of a server's GPUs at one time; kept for a day."""

    __tablename__ = "health_sample"

    server_id: str = Field(foreign_key="server.id", primary_key=True)
    at: datetime = Field(sa_column=Column(utc_column().type, primary_key=True))
    gpus: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))
    """The values of each GPU that were read.

    They are index, temperature_c, power_w, utilization_percent, memory_used_mib, and ecc_corrected
    and ecc_uncorrected since its driver was loaded.
    """


class BmcReading(SQLModel, table=True):
    """The last reading of a server's judged sensors and event log through its BMC."""

    __tablename__ = "bmc_reading"

    server_id: str = Field(foreign_key="server.id", primary_key=True)
    due_at: datetime = Field(sa_column=utc_column(index=True))
    """When it is read next; moved ahead by whoever reads it."""
    read_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When `sensors` were read."""
    log: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    """How far the event log was read, and the entries that count (`domain.health.bmc_log`). Null:
    nothing was read since the server was enrolled or repaired."""
    sensors: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSON, nullable=False)
    )
    """Per sensor: name, health, severity and a description (`domain.health.sensors.kept`)."""
    error: str = ""
    """Why there is no newer reading."""
