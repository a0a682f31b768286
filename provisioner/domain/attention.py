"""Whether a server needs an operator, why, and what to do: one rule for list, page and API.

A server that is merely at work, or retries by itself, does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from provisioner.domain.health.levels import HealthLevel
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import IN_POOL, State

FAULTY_IN = frozenset(IN_POOL - {State.RECLAIMING})
"""States in which a fault of the hardware alone needs attention. A server that is reclaimed is
judged again after its power cycle."""

_URGENCY = (
    IncidentKind.FAULT,
    IncidentKind.HEALTH,
    IncidentKind.ACCESS,
    IncidentKind.STEP,
    IncidentKind.STUCK,
    IncidentKind.REPORT,
    IncidentKind.SILENT,
)
"""Which of several incidents explains a server best; all others come after these."""

_HELD_BACK = (
    "it leaves the pool by itself, unless the circuit breaker holds it back: rackctl incident list"
)
_LEASED = "its customer keeps it; it is dealt with when the lease ends"


@dataclass(frozen=True, slots=True)
class Report:
    """An open incident of the server."""

    kind: IncidentKind
    reason: str
    next_action: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the rule looks at."""

    state: State
    reason: str = ""
    next_action: str = ""
    is_parked: bool = False
    """Its operation waits for an operator."""
    incidents: Sequence[Report] = ()
    level: HealthLevel | None = None
    """Of its health; None if it was never judged."""
    summary: str = ""
    """The worst finding on its health."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Why a server needs an operator, and what to do."""

    reason: str
    next_action: str


def attention(server: Standing) -> Attention | None:
    """Return why the server needs an operator, or None if it does not.

    Its own reason comes first, then the most telling incident's, then that of its health.
    """
    faulty = server.level is HealthLevel.FAULTY and server.state in FAULTY_IN
    quarantined = server.state is State.QUARANTINED
    if not (quarantined or server.is_parked or server.incidents or faulty):
        return None
    if server.reason and server.next_action:
        return Attention(server.reason, server.next_action)
    if server.incidents:
        worst = min(server.incidents, key=_urgency)
        return Attention(worst.reason, worst.next_action)
    if faulty and not server.reason:
        action = _LEASED if server.state is State.LEASED else _HELD_BACK
        return Attention(server.summary, action)
    return Attention(server.reason, server.next_action)


def _urgency(report: Report) -> int:
    return _URGENCY.index(report.kind) if report.kind in _URGENCY else len(_URGENCY)
