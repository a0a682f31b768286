"""The hardware: servers, their disks, proofs of erasure, and requests on servers."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from provisioner.domain.lifecycle import RequestOutcome, RequestVerb, State
from provisioner.domain.sanitisation import SanitisationLevel
from provisioner.store.columns import AT_ONCE, enum_text, index_while, new_id, utc_column, utc_now


class Server(SQLModel, table=True):
    """One physical machine and its place in the lifecycle."""

    __tablename__ = "server"
    __table_args__ = (UniqueConstraint("bmc_address", "bmc_port"),)

    id: str = Field(default_factory=lambda: new_id("srv"), primary_key=True)
    name: str = Field(unique=True)
    site: str = Field(index=True)
    rack: str
    class_name: str = Field(foreign_key="server_class.name", index=True)
    serial: str = Field(unique=True)
    boot_mac: str = Field(unique=True)
    address: str = Field(unique=True)

    switch_port: str = ""
    """Its port on the provisioner's switch; empty if none is under its control."""
    bmc_protocol: str
    bmc_address: str
    bmc_port: int
    bmc_username: str
    bmc_secret: str
    """The BMC password, sealed by the secret box; never in plain text."""
    bmc_next_secret: str = ""
    """A password being written to the BMC, sealed: until it is seen to work, either may be right.
    """
    bmc_enrolled_secret: str = ""
    """The inventory's password before the first rotation, sealed; else empty."""
    bmc_lost_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """When the BMC was found to refuse our login after a lease; None once access is recovered."""

    expect: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    """What the inventory says the server has."""
    facts: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    """What the last inspection found."""

    state: State = Field(default=State.ENROLLED, sa_type=enum_text(State), index=True)
    state_since: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    reason: str = ""
    """Why it is in this state, or why it does not leave it."""
    next_action: str = ""
    """What a person should do; empty if nothing."""
    last_used_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    """When somebody could last have written to its disks: certificates must be newer."""
    enrolled_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())

    due_at: datetime | None = Field(
        default=AT_ONCE, sa_column=utc_column(nullable=True, index=True)
    )
    """When the reconciler has to check it again; None means never."""
    attention: int = 0
    """Raised by every new fact or request, so that one arriving during a step is not missed."""
    claim_owner: str = ""
    claim_token: str = ""
    claim_expires_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))


class Disk(SQLModel, table=True):
    """A disk that inspection found in a server; every one that is present has to be erased."""

    __tablename__ = "disk"
    __table_args__ = (UniqueConstraint("server_id", "serial"),)

    id: str = Field(default_factory=lambda: new_id("dsk"), primary_key=True)
    server_id: str = Field(foreign_key="server.id", index=True)
    serial: str
    model: str = ""
    firmware: str = ""
    transport: str = ""
    size_bytes: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    capabilities: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSON, nullable=False)
    )
    """Erase capabilities as the disk reports them."""
    present: bool = True
    seen_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())


class ErasureCertificate(SQLModel, table=True):
    """Proof that one disk was sanitised and read back (NIST SP 800-88 r2, section 4.7)."""

    __tablename__ = "erasure_certificate"
    __table_args__ = (Index("ix_erasure_certificate_disk", "server_id", "disk_serial"),)

    id: str = Field(default_factory=lambda: new_id("cert"), primary_key=True)
    server_id: str = Field(foreign_key="server.id")
    operation_id: str = Field(foreign_key="operation.id", index=True)
    disk_serial: str
    method: str
    level: SanitisationLevel = Field(sa_type=enum_text(SanitisationLevel))
    started_at: datetime = Field(sa_column=utc_column())
    finished_at: datetime = Field(sa_column=utc_column())
    evidence: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """Attempts, markers, samples, tool versions: everything that the sanitisation reported."""


class ServerRequest(SQLModel, table=True):
    """A request on a server; the reconciler carries requests out in order."""

    __tablename__ = "server_request"
    __table_args__ = (index_while("ended_at IS NULL", "ix_server_request_open", "server_id"),)

    id: str = Field(default_factory=lambda: new_id("req"), primary_key=True)
    server_id: str = Field(foreign_key="server.id", index=True)
    lease_id: str | None = Field(default=None, foreign_key="lease.id", index=True)
    """The lease for whose customer the request was made."""
    verb: RequestVerb = Field(sa_type=enum_text(RequestVerb))
    arguments: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    """The verb's arguments: `reason`, or what to install and for whom."""
    actor: str
    """As in the audit trail."""
    filed_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    taken_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    ended_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    outcome: RequestOutcome = Field(
        default=RequestOutcome.WAITING, sa_type=enum_text(RequestOutcome)
    )
    failure: str = ""
    """Why it failed or was cancelled."""
