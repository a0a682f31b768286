"""How healthy servers are, from their agents' reports: rules, verdicts, the view of the fleet."""

from provisioner.domain.health.fitness import BY_A_PERSON, next_action, unfit, unverified
from provisioner.domain.health.fleet import breaker_trips, is_believed, lemon_score
from provisioner.domain.health.history import Sample, remember, thinned
from provisioner.domain.health.levels import HealthAction, HealthLevel, Outcome
from provisioner.domain.health.verdict import HEALTHY, Finding, Verdict, verdict

__all__ = [
    "BY_A_PERSON",
    "HEALTHY",
    "Finding",
    "HealthAction",
    "HealthLevel",
    "Outcome",
    "Sample",
    "Verdict",
    "breaker_trips",
    "is_believed",
    "lemon_score",
    "next_action",
    "remember",
    "thinned",
    "unfit",
    "unverified",
    "verdict",
]
