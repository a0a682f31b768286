"""What a row of the rules says: signal, threshold and window, then outcome, sentence and source of
a finding. Signals are named as the agent reports them (`agent.signals`), a BMC's as they are kept
(`sensors`).
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from provisioner.domain.health.levels import HealthAction, Outcome


class Scope(StrEnum):
    """Whose signal it is; a rule is asked once for each."""

    SERVER = "server"
    GPU = "GPU"
    DISK = "disk"
    LINK = "link"
    SENSOR = "sensor"
    """Of the BMC, which the provisioner reads; not the agent."""


class Measure(StrEnum):
    NOW = "now"
    """The newest value."""
    LASTING = "lasting"
    """The newest value, if the condition was true at every verdict of the window."""
    INCREASE = "increase"
    """By how much a counter grew within the window; of a list, the entry that grew most."""


class Compare(StrEnum):
    AT_LEAST = "≥"
    AT_MOST = "≤"
    ABOVE = ">"
    BELOW = "<"
    IS = "="
    IS_NOT = "≠"
    HAS_BITS = "has bits"


Limit = float | str
"""A number, a word, or the name of another signal of the same part."""


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    scope: Scope
    signal: str
    compare: Compare
    limit: Limit
    outcome: Outcome
    summary: str
    """A sentence; {part}, {value}, {limit} stand for the part, the value and the limit."""
    source: str
    measure: Measure = Measure.NOW
    window: timedelta = timedelta()
    only: tuple[str, Compare, Limit] | None = None
    """Judged only while this is true of the same part."""
    again: HealthAction | None = None
    """The action when it comes back after reboots."""
    latched: bool = False
    """Found is found until the next boot, even when the signal is gone."""


NVML = "NVML API"
AZURE = "Azure node health checks for H100"
DCGM = "DCGM health checks"
GPUD = "gpud"
MEMORY_ERRORS = "NVIDIA GPU memory error management"
PAGE_RETIREMENT = "NVIDIA dynamic page retirement"
NVME = "NVM Express base specification, SMART log"
SMART = "ATA ACS-3, SMART RETURN STATUS; SCSI SPC-5, informational exceptions"
KERNEL = "Linux kernel documentation"
IPMI = "IPMI 2.0, tables 42-2 and 42-3"
OURS = "Ironlease"

MINUTE = timedelta(minutes=1)
