"""What a rule says: signal, threshold and window, then outcome, sentence and source.

Signals are named as the agent reports them (`agent.signals`), a BMC's as they are stored
(`sensors`).
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from provisioner.domain.health.levels import HealthAction, Outcome


class Scope(StrEnum):
    """What the signal belongs to; a rule is checked once for each."""

    SERVER = "server"
    GPU = "GPU"
    DISK = "disk"
    LINK = "link"
    SENSOR = "sensor"
    """A sensor of the BMC, read by the provisioner rather than the agent."""


class Measure(StrEnum):
    NOW = "now"
    """The newest value."""
    LASTING = "lasting"
    """The newest value, if the condition held at every verdict in the window."""
    INCREASE = "increase"
    """The growth of a counter within the window; for a list, of the entry that grew most."""


class Compare(StrEnum):
    AT_LEAST = "≥"
    AT_MOST = "≤"
    ABOVE = ">"
    BELOW = "<"
    IS = "="
    IS_NOT = "≠"
    HAS_BITS = "has bits"


Limit = float | str
"""A number, a text, or the name of another signal of the same part."""


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    scope: Scope
    signal: str
    compare: Compare
    limit: Limit
    outcome: Outcome
    summary: str
    """A sentence in which {part}, {value} and {limit} are filled in."""
    source: str
    measure: Measure = Measure.NOW
    window: timedelta = timedelta()
    only: tuple[str, Compare, Limit] | None = None
    """Judged only while this condition holds for the same part."""
    again: HealthAction | None = None
    """The action when the fault comes back after reboots."""
    latched: bool = False
    """Once found, it stays until the next boot, even if the signal is gone."""
    verifiable: bool = False
    """Our ramdisk reads it too, so a tenant's word for it is verified there."""


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
