"""Reads the health of what a server has beside its GPUs: disks, main memory by EDAC, network links
by their flaps, and which GPUs are on the bus. Nothing is set.
"""

from __future__ import annotations

from pathlib import Path

from agent import disks, sysfs
from agent.signals import Values

NVIDIA = "0x10de"
_DISPLAY = "0x03"


def read(sys: Path = Path("/sys"), devices: Path = Path("/dev")) -> Values:
    """Everything of the server that is not a GPU's."""
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
    """How many NVIDIA GPUs the PCI bus has, with or without a driver."""
    return sum(
        sysfs.text(device / "vendor") == NVIDIA
        and (sysfs.text(device / "class") or "").startswith(_DISPLAY)
        and not (device / "physfn").exists()  # a virtual function is no GPU of its own
        for device in sysfs.folders(sys / "bus/pci/devices")
    )


def _links(net: Path) -> list[Values]:
    """Network interfaces that are hardware."""
    found = []
    for interface in sysfs.folders(net):
        flaps = sysfs.count(interface / "carrier_down_count")
        if flaps is None or not (interface / "device").exists():
            continue
        up = sysfs.text(interface / "operstate") == "up"
        found.append({"name": interface.name, "up": up, "down_count": flaps})
    return found
