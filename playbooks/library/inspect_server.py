"""Read the server's processors, memory, NICs, disks, GPUs and firmware. Changes nothing."""

from __future__ import annotations

import glob
import os

from module_utils.disks import Disk, disks, read_sys
from module_utils.nvme import Controller

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from typing import Any

DMI = "/sys/class/dmi/id/"
NVIDIA = "0x10de"
DISPLAY_CLASS = "0x03"


def memory_mib() -> int:
    with open("/proc/meminfo") as handle:
        for line in handle:
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) // 1024
    raise LookupError("/proc/meminfo has no MemTotal")


def nics() -> list[dict[str, Any]]:
    found = []
    for name in sorted(os.listdir("/sys/class/net")):
        device = f"/sys/class/net/{name}"
        if not os.path.exists(device + "/device"):
            continue  # loopback and other software interfaces
        driver = os.path.basename(os.path.realpath(device + "/device/driver"))
        link = read_sys(device + "/carrier") == "1"
        mac = read_sys(device + "/address")
        found.append({"name": name, "mac": mac, "link": link, "driver": driver})
    return found


def capabilities(disk: Disk) -> dict[str, bool]:
    """Return the fields of the provisioner's SanitiseCapabilities, as the disk reports them."""
    can = dict.fromkeys(
        ("sanitize_crypto", "sanitize_block", "format_user_data", "format_crypto"), False
    )
    if disk.nvme_namespace:
        with Controller(disk.path) as controller:
            can.update(controller.capabilities())
    can["discard"] = disk.discards
    return can


def disk_facts(disk: Disk) -> dict[str, Any]:
    return {
        "name": disk.name,
        "serial": disk.serial,
        "model": disk.model,
        "firmware": disk.firmware,
        "size_bytes": disk.size_bytes,
        "transport": disk.transport,
        "rotational": disk.rotational,
        "capabilities": capabilities(disk),
    }


def gpus() -> list[dict[str, str]]:
    """List NVIDIA display controllers that are bound to a driver."""
    found = []
    for device in sorted(glob.glob("/sys/bus/pci/devices/*")):
        display = read_sys(device + "/class").startswith(DISPLAY_CLASS)
        if (
            display
            and read_sys(device + "/vendor") == NVIDIA
            and os.path.exists(device + "/driver")
        ):
            found.append({"pci_address": os.path.basename(device)})
    return found


def main(variables: dict[str, Any]) -> dict[str, Any]:
    return {
        "facts": {
            "serial": read_sys(DMI + "product_serial"),
            "manufacturer": read_sys(DMI + "sys_vendor"),
            "product": read_sys(DMI + "product_name"),
            "firmware": {
                "vendor": read_sys(DMI + "bios_vendor"),
                "version": read_sys(DMI + "bios_version"),
                "date": read_sys(DMI + "bios_date"),
            },
            "cpus": os.cpu_count(),
            "memory_mib": memory_mib(),
            "nics": nics(),
            "disks": [disk_facts(disk) for disk in disks()],
            "gpus": gpus(),
        }
    }
