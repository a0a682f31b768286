"""The states of a reservation, the reasons why a lease ends, and the actions on either."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from provisioner.domain.lifecycle import RequestVerb

SHORTEST = timedelta(minutes=1)
LONGEST = timedelta(days=366)


class ReservationState(StrEnum):
    WAITING = "waiting"
    """Promised; no server is bound yet."""
    BOUND = "bound"
    """It has a lease on a server."""
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
    """The reservation continues on another server."""


class ReservationAction(StrEnum):
    """What a customer may do with a reservation."""

    EXTEND = "extend"
    SWAP = "swap"
    START = "start"
    STOP = "stop"
    REBOOT = "reboot"
    POWER_CYCLE = "power_cycle"
    REINSTALL = "reinstall"
    RELEASE = "release"


ON_LEASE: dict[RequestVerb, ReservationAction] = {
    RequestVerb.START: ReservationAction.START,
    RequestVerb.STOP: ReservationAction.STOP,
    RequestVerb.REBOOT: ReservationAction.REBOOT,
    RequestVerb.POWER_CYCLE: ReservationAction.POWER_CYCLE,
    RequestVerb.REINSTALL: ReservationAction.REINSTALL,
}
"""What a customer may request of a server that was handed over."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A reservation's status: everything that decides which actions it allows."""

    state: ReservationState
    ends_at: datetime
    released_at: datetime | None
    faulty: bool = False
    """An incident reports its server as faulty, and it has not been swapped before."""
    handed_over: bool = False
    """Its server was handed over and is not being reclaimed."""
    stopped: bool = False
    """Its server was switched off on request."""


def allowed_actions(standing: Standing, now: datetime) -> list[ReservationAction]:
    if standing.state.is_over or standing.released_at is not None:
        return []
    allowed = {ReservationAction.RELEASE}
    if standing.ends_at > now:
        allowed.add(ReservationAction.EXTEND)
        if standing.faulty:
            allowed.add(ReservationAction.SWAP)
        if standing.handed_over:
            # A server that shut itself down still looks as if it ran, so it can be started too.
            off = {ReservationAction.START, ReservationAction.REINSTALL}
            allowed |= off if standing.stopped else set(ON_LEASE.values())
    return [action for action in ReservationAction if action in allowed]
