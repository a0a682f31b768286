"""What the kernel says about this machine: its boot, clock and name."""

from __future__ import annotations

import os
import time
from pathlib import Path


def boottime() -> float:
    """Seconds since the kernel started, including time asleep. Nobody can set this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return the kernel's random identifier of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def hostname() -> str:
    return os.uname().nodename


def pci_address(bus_id: str) -> str:
    """Convert NVML's 00000000:3B:00.0 or the kernel log's 0000:3b:00 to sysfs's 0000:3b:00.0."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain[-4:]}:{rest}" if "." in rest else f"{domain[-4:]}:{rest}.0"
