"""The values of a health verdict, each in order of severity."""

from enum import Enum, StrEnum


class HealthLevel(StrEnum):
    """How healthy a server or a part of it is."""

    OK = "ok"
    WATCH = "watch"
    """Works as it should, but something deserves a look or is being counted."""
    DEGRADED = "degraded"
    """Works, but slower or with less margin than it should: not for the next lease as it is."""
    FAULTY = "faulty"
    """Does not work: out of capacity, and unusable for its tenant."""

    @property
    def rank(self) -> int:
        return _LEVELS.index(self)


class HealthAction(StrEnum):
    """What repairs it. For a server without a lease, the lease's end is now."""

    NONE = "none"
    RESET_AT_LEASE_END = "reset_at_lease_end"
    """Reset the GPU before the next lease; the power cycle of a reclaim does."""
    DRAIN_AT_LEASE_END = "drain_at_lease_end"
    """Take the server out of capacity when the lease ends, for a person to inspect."""
    REBOOT = "reboot"
    """Power cycle as soon as no tenant has the server; then check whether the fault returns."""
    QUARANTINE = "quarantine"
    """Take the server out of capacity now, for a person to inspect."""
    RMA = "rma"
    """Take the server out of capacity now; the part has to be replaced."""

    @property
    def rank(self) -> int:
        return _ACTIONS.index(self)


_LEVELS = list(HealthLevel)
_ACTIONS = list(HealthAction)


class Outcome(Enum):
    """The combinations of level and action that a finding may have."""

    FINE = HealthLevel.OK, HealthAction.NONE
    NOTE = HealthLevel.WATCH, HealthAction.NONE
    RESTORE = HealthLevel.WATCH, HealthAction.RESET_AT_LEASE_END
    RESET = HealthLevel.DEGRADED, HealthAction.RESET_AT_LEASE_END
    DRAIN = HealthLevel.DEGRADED, HealthAction.DRAIN_AT_LEASE_END
    RESET_FIRST = HealthLevel.FAULTY, HealthAction.RESET_AT_LEASE_END
    REBOOT = HealthLevel.FAULTY, HealthAction.REBOOT
    QUARANTINE = HealthLevel.FAULTY, HealthAction.QUARANTINE
    REPLACE = HealthLevel.FAULTY, HealthAction.RMA

    @property
    def level(self) -> HealthLevel:
        return self.value[0]

    @property
    def action(self) -> HealthAction:
        return self.value[1]
