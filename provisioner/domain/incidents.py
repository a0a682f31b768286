"""The kinds of incidents, and what each means."""

from enum import StrEnum


class IncidentKind(StrEnum):
    STEP = "step"
    """A step keeps failing; it is still retried."""
    STUCK = "stuck"
    """The server exceeded the time limit of its state."""
    ACCESS = "access"
    """One of the barriers to a former tenant failed; the others still hold."""
    FAULT = "fault"
    """The server is faulty and out of the pool."""
    HEALTH = "health"
    """A leased server is faulty: its customer is notified and may get another."""
    SILENT = "silent"
    """The agent of a leased server is silent; the tenant may have stopped it."""
    DELAYED = "delayed"
    """A reservation waits for a server: its own failed, and no other is free."""
    REPORT = "report"
    """An agent's reports cannot be judged, so the server's health is unknown."""
    DOUBT = "doubt"
    """A fault that only a tenant reported is doubted, as they reported too many."""
    CLOCK = "clock"
    """A host's clock jumped, or disagrees with the database's: leases do not follow it."""
    BREAKER = "breaker"
    """So many servers turned faulty at once that none is quarantined for its health."""
