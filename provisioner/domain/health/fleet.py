"""Verdicts across many servers, and across many days of one."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from provisioner.domain.health.levels import HealthLevel

BREAKER_WINDOW = timedelta(minutes=5)
BREAKER_SHARE = 0.1
BREAKER_LEAST = 3

BELIEVED = 2
BELIEVED_WITHIN = timedelta(days=30)

LEMON_DAYS = 30
LEMON_WEIGHT = {HealthLevel.DEGRADED: 1.0, HealthLevel.FAULTY: 3.0}


def breaker_trips(turned_faulty: Iterable[datetime], servers: int, now: datetime) -> bool:
    """Whether so many servers turned faulty within five minutes that a common cause is likely.

    The cause may be a driver, a switch, the power, or our own rules. Quarantining then stops until
    a person has closed the one incident about it; until then the breaker stays open.
    """
    recent = sum(now - BREAKER_WINDOW < at <= now for at in turned_faulty)
    return recent >= max(BREAKER_LEAST, BREAKER_SHARE * servers)


def is_believed(quarantined: Iterable[datetime], now: datetime) -> bool:
    """Whether a fault that only a tenant has reported, and we cannot verify, quarantines a server.

    `quarantined` is when other servers of the account were, for such faults. A tenant who lies
    could otherwise empty the pool.
    """
    return sum(now - BELIEVED_WITHIN < at for at in quarantined) < BELIEVED


def lemon_score(incidents: Iterable[tuple[datetime, HealthLevel]], now: datetime) -> float:
    """Score how often a server was in trouble in the last 30 days.

    Each incident counts by its level, and less with each day that passes. Binding prefers lower
    scores.
    """
    score = 0.0
    for at, level in incidents:
        days = max(0.0, (now - at) / timedelta(days=1))
        score += LEMON_WEIGHT.get(level, 0.0) * max(0.0, 1 - days / LEMON_DAYS)
    return score
