"""How a server is led through its states: operations, their steps and logs, boots and agents."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column
from sqlmodel import Field, SQLModel

from provisioner.domain.lifecycle import OperationState, Step, StepOutcome, Verb
from provisioner.store.columns import (
    enum_text,
    index_while,
    new_id,
    unique_while,
    utc_column,
    utc_now,
)


class Operation(SQLModel, table=True):
    """One run of a lifecycle verb on a server."""

    __tablename__ = "operation"
    __table_args__ = (unique_while("ended_at IS NULL", "uq_operation_running", "server_id"),)

    id: str = Field(default_factory=lambda: new_id("op"), primary_key=True)
    server_id: str = Field(foreign_key="server.id", index=True)
    lease_id: str | None = Field(default=None, foreign_key="lease.id")
    request_id: str | None = Field(default=None, foreign_key="server_request.id")
    """What it carries out; None where the server's state runs it."""
    verb: Verb = Field(sa_type=enum_text(Verb))
    state: OperationState = Field(default=OperationState.RUNNING, sa_type=enum_text(OperationState))
    step: Step = Field(sa_type=enum_text(Step))
    step_started_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    attempt: int = 0
    """Failures of the current step so far."""
    boots: int = 0
    """Power cycles spent by this operation; they have a budget."""
    memo: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    """What a step leaves for later ones."""
    started_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    ended_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))


class StepRecord(SQLModel, table=True):
    """One attempt at a step, with its time and outcome."""

    __tablename__ = "step_record"

    id: str = Field(default_factory=lambda: new_id("step"), primary_key=True)
    operation_id: str = Field(foreign_key="operation.id", index=True)
    step: Step = Field(sa_type=enum_text(Step))
    started_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    ended_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    outcome: StepOutcome = Field(default=StepOutcome.RUNNING, sa_type=enum_text(StepOutcome))
    detail: str = ""


class StepLog(SQLModel, table=True):
    """One line of what a step did, written as it happens."""

    __tablename__ = "step_log"

    id: str = Field(default_factory=lambda: new_id("log"), primary_key=True)
    operation_id: str = Field(foreign_key="operation.id", index=True)
    step: Step = Field(sa_type=enum_text(Step))
    at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    text: str


class Boot(SQLModel, table=True):
    """One boot of the deploy ramdisk that the provisioner allowed: window, token, identity."""

    __tablename__ = "boot"

    id: str = Field(default_factory=lambda: new_id("boot"), primary_key=True)
    server_id: str = Field(foreign_key="server.id", index=True)
    operation_id: str = Field(foreign_key="operation.id")
    token_secret: str
    """The single-use boot token, sealed: iPXE receives it while the window is open."""
    token_hash: str = Field(unique=True)
    host_key: str
    """The ramdisk's SSH host key, public line: known before the first connection."""
    host_key_secret: str
    agent_token_secret: str
    opened_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    expires_at: datetime = Field(sa_column=utc_column())
    asked_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When iPXE fetched its script."""
    identified_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When the ramdisk first exchanged the token, which is worthless to anybody else from then on.
    """
    nonce_hash: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Of the nonce with which it did, and may again until it is ready; empty if it gave none."""
    ready_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When the ramdisk reported that its SSH server listens."""
    closed_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When this boot ended: powered off, kexec, or given up."""


class AgentIdentity(SQLModel, table=True):
    """An agent's credentials: for one server and one boot or lease, until revoked."""

    __tablename__ = "agent_identity"
    __table_args__ = (
        index_while("revoked_at IS NULL", "ix_agent_identity_live", "reported_at"),
        # Without the NULL rows, which are nearly all, and long: SQLite would scan them rather than
        # look up an identifier.
        index_while("changed_in IS NOT NULL", "ix_agent_identity_changed", "changed_in"),
    )

    id: str = Field(default_factory=lambda: new_id("agt"), primary_key=True)
    server_id: str = Field(foreign_key="server.id", index=True)
    lease_id: str | None = Field(default=None, foreign_key="lease.id", index=True)
    boot_id: str | None = Field(default=None, foreign_key="boot.id", index=True)
    token_hash: str = Field(unique=True)
    issued_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    revoked_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    changed_in: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    """Number of the change that revoked it (`store.changes`)."""
    seen_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When it last reported."""
    reported_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When `report` came: not all reports include the health."""
    report: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    """The last report with health, or the first of its boot, in full."""
