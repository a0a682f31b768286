"""How often and how fast a failed step is tried again."""

from datetime import timedelta

TRIES = 5
"""Attempts at a step before an incident says that it does not pass by itself."""

BOOTS = 3
"""Power cycles that one operation may spend on reaching the deploy ramdisk."""

PATIENCE = timedelta(seconds=60)
"""Between attempts once an incident is open."""


def backoff(attempt: int) -> timedelta:
    """The pause after failed attempt number `attempt` (from 1): 1, 2, 4, 8, 16 seconds, …"""
    return min(timedelta(seconds=2 ** (attempt - 1)), PATIENCE)
