"""The states of a reservation, why a lease ends, and what may be asked of either."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

SHORTEST = timedelta(minutes=1)
LONGEST = timedelta(days=366)


class ReservationState(StrEnum):
    WAITING = "waiting"
    """Promised; no server is bound yet."""
    BOUND = "bound"
    """Its lease exists."""
    ENDED = "ended"
    CANCELLED = "cancelled"
    """Given back before a server was bound."""

    @property
    def is_over(self) -> bool:
        return self in (ReservationState.ENDED, ReservationState.CANCELLED)


ACTIVE = tuple(state for state in ReservationState if not state.is_over)


class LeaseEndReason(StrEnum):
    EXPIRED = "expired"
    RELEASED = "released"
    MOVED = "moved"
    """The reservation goes on, on another server."""


class ReservationAction(StrEnum):
    """What a customer may ask of a reservation."""

    EXTEND = "extend"
    SWAP = "swap"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a reservation stands: all that decides what may be asked of it."""

    state: ReservationState
    ends_at: datetime
    released_at: datetime | None
    faulty: bool = False
    """An incident says that its server is faulty, and it was not swapped before."""


def allowed_actions(standing: Standing, now: datetime) -> list[ReservationAction]:
    if standing.state.is_over or standing.released_at is not None:
        return []
    allowed = {ReservationAction.RELEASE}
    if standing.ends_at > now:
        allowed.add(ReservationAction.EXTEND)
        if standing.faulty:
            allowed.add(ReservationAction.SWAP)
    return [action for action in ReservationAction if action in allowed]
