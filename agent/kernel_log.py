"""Reads XID errors from the kernel's log, with the text that NVML does not give.

The log goes back to the start of this boot, before the agent ran. Reading needs root or CAP_SYSLOG.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from agent.host import pci_address
from agent.signals import MOST_CHARACTERS, Values

# NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python, GPU has fallen off the bus.
_XID = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F]{4,8}:[0-9a-fA-F:.]+)\): (\d+),? ?(.*)")
_RECORD = 8192


class KernelLog:
    """Follows /dev/kmsg from its beginning."""

    def __init__(self, device: Path = Path("/dev/kmsg")) -> None:
        """Raises `OSError` if the log may not be read."""
        self.file = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def xids(self) -> Iterator[Values]:
        """Yield the XIDs logged since the last call."""
        while True:
            try:
                record = os.read(self.file, _RECORD)
            except BlockingIOError:
                return
            except BrokenPipeError:  # overwritten before it was read: continue with the oldest
                continue
            if not record:
                return
            event = xid(record.decode(errors="replace"))
            if event:
                yield event


def xid(record: str) -> Values | None:
    """Parse a record (Documentation/ABI/testing/dev-kmsg); None if it is not an NVIDIA XID."""
    head, _, text = record.partition(";")
    match = _XID.search(text.partition("\n")[0])
    if not match:
        return None
    _, sequence, microseconds = head.split(",")[:3]
    return {
        "id": f"k{sequence}",
        "pci": pci_address(match[1]),
        "xid": int(match[2]),
        "at_s": int(microseconds) / 1e6,
        "text": match[3][:MOST_CHARACTERS],
    }
