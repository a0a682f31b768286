"""The QEMU command line of one server, purely from the plan.

Drives are split into nodes (`disk0-file` under `disk0`), so that a fault can be inserted between
them while the machine runs.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.rack.plan import RackPlan, ServerPlan

BMC_LINK_PORT = 9002
NIC_DEVICE = "nic0"
UEFI_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
UEFI_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")

ACCELERATION: dict[str, tuple[str, ...]] = {
    "kvm": ("-accel", "kvm", "-cpu", "host"),
    # The plainest CPU: with `max`, guests choose AVX code paths that are emulated slowly (SHA-256
    # takes six times as long, Python's imports twice, measured side by side).
    "tcg": ("-accel", "tcg,thread=multi", "-cpu", "qemu64"),
}

# How a broken disk answers: blkdebug's rules, by fault. Flushes always work: QEMU itself flushes
# when a fault is cleared, and where no write got through there is nothing to flush.
DISK_FAULTS: dict[str, list[dict[str, Any]]] = {
    "break": [
        {"event": "none", "errno": 5, "iotype": kind}
        for kind in ("read", "write", "write-zeroes", "discard")
    ],
    "fill": [{"event": "none", "errno": 28, "iotype": kind} for kind in ("write", "write-zeroes")],
}


def uefi_variables(rack: RackPlan, server: ServerPlan) -> Path:
    """Return where the server's UEFI variables live (its "flash")."""
    return rack.data / f"{server.serial}.uefi"


def fault_node(disk_node: str, fault: str) -> dict[str, Any]:
    """Return the block node that makes a disk fail."""
    return {
        "driver": "blkdebug",
        "node-name": f"{disk_node}-{fault}",
        "image": f"{disk_node}-file",
        "inject-error": DISK_FAULTS[fault],
    }


def raw_node(disk_node: str, fault: str | None) -> dict[str, Any]:
    """Return the node that the server's disk uses, over its file or over the fault."""
    return {
        "driver": "raw",
        "node-name": disk_node,
        "file": f"{disk_node}-{fault or 'file'}",
        "discard": "unmap",
        "detect-zeroes": "off",
    }


def command_line(
    rack: RackPlan,
    server: ServerPlan,
    *,
    acceleration: str,
    network_first: bool,
    serial_fd: int,
    monitor_fd: int,
    tap_fd: int,
    disk_faults: Mapping[str, str],
) -> list[str]:
    """Return the command that starts `server`; `disk_faults` is by disk serial."""
    words = [
        *(on_one_cpu(server.number) if acceleration == "tcg" else ()),
        "qemu-system-x86_64",
        *("-name", server.name),
        *("-machine", "q35,graphics=off"),
        *ACCELERATION[acceleration],
        *("-smp", "1", "-m", str(rack.memory_mib)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"),
        # A reset from inside ends this process, so that the next boot order is the BMC's again.
        *("-action", "reboot=shutdown"),
        *("-chardev", f"socket,id=serial0,fd={serial_fd}", "-serial", "chardev:serial0"),
        *("-chardev", f"socket,id=monitor0,fd={monitor_fd}"),
        *("-mon", "chardev=monitor0,mode=control"),
        *("-smbios", _smbios(rack, server)),
        *("-device", "virtio-rng-pci"),
    ]
    if server.options.firmware == "uefi":
        flash = "if=pflash,unit={},format=raw,file={}"
        words += ["-drive", flash.format(0, UEFI_CODE) + ",readonly=on"]
        words += ["-drive", flash.format(1, uefi_variables(rack, server))]
    words += _network(server, tap_fd, boot_index=1 if network_first else len(server.disks) + 1)
    words += _disks(server, first_boot_index=2 if network_first else 1, faults=disk_faults)
    if server.options.in_band_bmc:
        link = f"host={server.link_address},port={BMC_LINK_PORT},reconnect=1"
        words += ["-chardev", f"socket,id=bmclink,{link}"]
        words += ["-device", "ipmi-bmc-extern,id=bmc0,chardev=bmclink"]
        words += ["-device", "isa-ipmi-kcs,bmc=bmc0"]
    return words


def on_one_cpu(number: int) -> tuple[str, ...]:
    """Return the prefix that keeps an emulated machine on one CPU of this host, chosen by number.

    On two CPUs a disk hung about once in fifty imagings: an NVMe command queued by the guest
    through its shadow doorbell was never seen, a race between the CPU's thread and the device's. On
    one CPU the two cannot miss each other.
    """
    allowed = sorted(os.sched_getaffinity(0))
    return ("taskset", "--cpu-list", str(allowed[(number - 1) % len(allowed)]))


def _smbios(rack: RackPlan, server: ServerPlan) -> str:
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{server.serial}.{rack.name}")
    return (
        "type=1,manufacturer=Ironlease,product=Virtual server,"
        f"serial={server.serial},uuid={identity}"
    )


def _network(server: ServerPlan, tap_fd: int, boot_index: int) -> list[str]:
    device = {"virtio": "virtio-net-pci", "e1000": "e1000"}[server.options.nic]
    identity = f"id={NIC_DEVICE},netdev=net0,mac={server.mac},bootindex={boot_index}"
    return ["-netdev", f"tap,id=net0,fd={tap_fd}", "-device", f"{device},{identity}"]


def _disks(server: ServerPlan, first_boot_index: int, faults: Mapping[str, str]) -> list[str]:
    bus = server.options.disk_bus
    words = ["-device", "virtio-scsi-pci,id=scsi0"] if bus == "scsi" else []
    for index, disk in enumerate(server.disks):
        fault = faults.get(disk.serial)
        file_node = {
            "driver": "file",
            "node-name": f"{disk.node}-file",
            "filename": str(disk.path),
            "discard": "unmap",
            "cache": {"direct": False, "no-flush": True},
        }
        nodes = [file_node, raw_node(disk.node, fault)]
        if fault is not None:
            nodes.insert(1, fault_node(disk.node, fault))
        device = {
            "nvme": "nvme",
            "ahci": f"ide-hd,bus=ide.{index}",
            "virtio": "virtio-blk-pci",
            "scsi": "scsi-hd,bus=scsi0.0",
        }[bus]
        for node in nodes:
            words += ["-blockdev", json.dumps(node)]
        identity = f"serial={disk.serial},bootindex={first_boot_index + index}"
        words += ["-device", f"{device},drive={disk.node},{identity}"]
    return words
