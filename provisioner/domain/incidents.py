"""The kinds of incidents: what each means, and when it is over."""

from enum import StrEnum


class IncidentKind(StrEnum):
    STEP = "step"
    """A step keeps failing; it is still retried."""
    STUCK = "stuck"
    """In its state for longer than the state's time limit."""
    ACCESS = "access"
    """Something that should keep a former tenant out does not work; the other means still apply."""
    FAULT = "fault"
    """The server is faulty and out of the pool."""
    HEALTH = "health"
    """A leased server is faulty: its customer is told, and may get another."""
    SILENT = "silent"
    """The agent of a leased server is silent: its tenant may have stopped it."""
    DELAYED = "delayed"
    """A reservation waits for a server: its own dropped out, and no other is free."""
    REPORT = "report"
    """An agent's reports cannot be judged: the server's health is unknown until they can."""
    BREAKER = "breaker"
    """So many servers turned faulty at once that none is quarantined for its health any more."""
