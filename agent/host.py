"""What the kernel says about this machine: its boot, its clock, its name."""

from __future__ import annotations

import os
import time
from pathlib import Path


def boottime() -> float:
    """Seconds since the kernel started, time asleep included. Nobody can set this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The kernel's random identifier of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def hostname() -> str:
    return os.uname().nodename
