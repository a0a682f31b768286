"""Every table of the schema, named by what a row is."""

from provisioner.store.tables.hardware import Disk, ErasureCertificate, Server, ServerClass
from provisioner.store.tables.health import (
    BmcReading,
    HealthFinding,
    HealthSample,
    Outage,
    ServerHealth,
)
from provisioner.store.tables.operations import (
    AgentIdentity,
    AuditEvent,
    Boot,
    Incident,
    Operation,
    ServerRequest,
    StepLog,
    StepRecord,
)
from provisioner.store.tables.rental import (
    Account,
    ApiToken,
    Extension,
    Image,
    Lease,
    Reservation,
    SshKey,
)
from provisioner.store.tables.webhooks import Webhook, WebhookMessage

__all__ = [
    "Account",
    "AgentIdentity",
    "ApiToken",
    "AuditEvent",
    "BmcReading",
    "Boot",
    "Disk",
    "ErasureCertificate",
    "Extension",
    "HealthFinding",
    "HealthSample",
    "Image",
    "Incident",
    "Lease",
    "Operation",
    "Outage",
    "Reservation",
    "Server",
    "ServerClass",
    "ServerHealth",
    "ServerRequest",
    "SshKey",
    "StepLog",
    "StepRecord",
    "Webhook",
    "WebhookMessage",
]
