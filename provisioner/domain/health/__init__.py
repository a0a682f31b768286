"""How well servers are, by what their agents report: rules, verdicts, the fleet's view."""

from provisioner.domain.health.fleet import breaker_trips, lemon_score
from provisioner.domain.health.history import Sample, remember
from provisioner.domain.health.terms import Action, Level, Outcome
from provisioner.domain.health.verdict import HEALTHY, Finding, Verdict, verdict

__all__ = [
    "HEALTHY",
    "Action",
    "Finding",
    "Level",
    "Outcome",
    "Sample",
    "Verdict",
    "breaker_trips",
    "lemon_score",
    "remember",
    "verdict",
]
