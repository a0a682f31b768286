"""Every table of the schema, by the name of what a row is."""

from provisioner.store.tables.hardware import Disk, EraseCertificate, Server, ServerClass
from provisioner.store.tables.operations import (
    AgentIdentity,
    AuditEvent,
    Boot,
    Incident,
    Operation,
    StepLog,
    StepRecord,
)
from provisioner.store.tables.rental import (
    Account,
    ApiToken,
    Image,
    Lease,
    Reservation,
    ReservationStatus,
    Role,
    SshKey,
)

__all__ = [
    "Account",
    "AgentIdentity",
    "ApiToken",
    "AuditEvent",
    "Boot",
    "Disk",
    "EraseCertificate",
    "Image",
    "Incident",
    "Lease",
    "Operation",
    "Reservation",
    "ReservationStatus",
    "Role",
    "Server",
    "ServerClass",
    "SshKey",
    "StepLog",
    "StepRecord",
]
