"""The kinds of incidents: what each says, and when it is over."""

from enum import StrEnum


class IncidentKind(StrEnum):
    STEP = "step"
    """A step does not pass; it is still tried."""
    STUCK = "stuck"
    """Longer in its state than the state's time."""
    ACCESS = "access"
    """What should keep a former tenant out does not work; the other means are still taken."""
    FAULT = "fault"
    """The server is at fault and out of the pool."""
    HEALTH = "health"
    """A leased server is faulty: its customer is told, and may have another."""
    SILENT = "silent"
    """The agent of a leased server is not heard: its tenant may have stopped it."""
    DELAYED = "delayed"
    """A reservation waits for a server: its own fell out, and no other is free."""
    REPORT = "report"
    """What its agent reports cannot be judged: nothing is known of its health until it can."""
    BREAKER = "breaker"
    """So many servers turned faulty at once that none is quarantined for its health any more."""
