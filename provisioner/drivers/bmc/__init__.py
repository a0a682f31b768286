"""Out-of-band control of servers through their BMC."""

from provisioner.drivers.bmc.base import (
    Bmc,
    BmcCommandFailed,
    BmcLoginRefused,
    BmcTarget,
    BmcUnreachable,
    BmcUser,
    BootDevice,
    LogEntry,
    LogPart,
    LogPosition,
    Power,
    PowerAction,
    Sensor,
)

__all__ = [
    "Bmc",
    "BmcCommandFailed",
    "BmcLoginRefused",
    "BmcTarget",
    "BmcUnreachable",
    "BmcUser",
    "BootDevice",
    "LogEntry",
    "LogPart",
    "LogPosition",
    "Power",
    "PowerAction",
    "Sensor",
]
