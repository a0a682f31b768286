"""Every table of the schema, named by what a row is; one module per package that uses it."""

from provisioner.store.tables.accounts import Account, ApiToken, SshKey, WebSession
from provisioner.store.tables.audit import AuditEvent
from provisioner.store.tables.catalogue import Image, ServerClass
from provisioner.store.tables.clock import HostClock
from provisioner.store.tables.fleet import Disk, ErasureCertificate, Server, ServerRequest
from provisioner.store.tables.health import BmcReading, HealthFinding, HealthSample, ServerHealth
from provisioner.store.tables.incidents import Incident, IncidentNote
from provisioner.store.tables.lifecycle import AgentIdentity, Boot, Operation, StepLog, StepRecord
from provisioner.store.tables.notifications import Webhook, WebhookMessage
from provisioner.store.tables.rental import Extension, Lease, Outage, Reservation

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
    "HostClock",
    "Image",
    "Incident",
    "IncidentNote",
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
    "WebSession",
    "Webhook",
    "WebhookMessage",
]
