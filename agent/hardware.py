"""Reads the health of a server's parts other than its GPUs; changes nothing.

Disks, main memory (EDAC), network links (carrier losses), and which GPUs are on the PCI bus.
"""

from __future__ import annotations

from pathlib import Path

from agent import disks, sysfs
from agent.signals import Values

NVIDIA = "0x10de"
_DISPLAY = "0x03"


def read(sys: Path = Path("/sys"), devices: Path = Path("/dev")) -> Values:
    """Read everything about the server except its GPUs."""
    values: Values = {
        "gpus_on_bus": gpus_on_bus(sys),
        "disks": disks.read(sys, devices),
        "links": _links(sys / "class/net"),
    }
    controllers = list(sys.glob("devices/system/edac/mc/mc*"))
    if controllers:
        for name, file in (("memory_corrected", "ce_count"), ("memory_uncorrected", "ue_count")):
            values[name] = sum(sysfs.count(folder / file) or 0 for folder in controllers)
    return values


def gpus_on_bus(sys: Path = Path("/sys")) -> int:
    """Count the NVIDIA GPUs on the PCI bus, with or without a driver."""
    return sum(
        sysfs.text(device / "vendor") == NVIDIA
        and (sysfs.text(device / "class") or "").startswith(_DISPLAY)
        and not (device / "physfn").exists()  # a virtual function is not a GPU of its own
        for device in sysfs.folders(sys / "bus/pci/devices")
    )


def _links(net: Path) -> list[Values]:
    """Read the physical network interfaces."""
    found = []
    for interface in sysfs.folders(net):
        flaps = sysfs.count(interface / "carrier_down_count")
        if flaps is None or not (interface / "device").exists():
            continue
        up = sysfs.text(interface / "operstate") == "up"
        found.append({"name": interface.name, "up": up, "down_count": flaps})
    return found
