"""Reads the health of what a server has beside its GPUs: NVMe disks by their SMART log, main memory
by EDAC, network links by their flaps, and which GPUs are on the bus. Nothing is set.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from pathlib import Path

from agent.signals import Values

NVIDIA = "0x10de"
_DISPLAY = "0x03"

# Linux uapi, linux/nvme_ioctl.h: struct nvme_passthru_cmd, 72 bytes, _IOWR('N', 0x41, …)
_ADMIN_COMMAND = 0xC0484E41
_GET_LOG_PAGE = 0x02
_SMART_LOG = 0x02
_SMART_SIZE = 512
_ALL_NAMESPACES = 0xFFFFFFFF
_KELVIN = 273


class _Command(ctypes.Structure):
    _fields_ = (
        ("opcode", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("reserved", ctypes.c_uint16),
        ("namespace", ctypes.c_uint32),
        ("cdw2", ctypes.c_uint32),
        ("cdw3", ctypes.c_uint32),
        ("metadata", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("metadata_length", ctypes.c_uint32),
        ("data_length", ctypes.c_uint32),
        ("cdw10", ctypes.c_uint32),
        ("cdw11", ctypes.c_uint32),
        ("cdw12", ctypes.c_uint32),
        ("cdw13", ctypes.c_uint32),
        ("cdw14", ctypes.c_uint32),
        ("cdw15", ctypes.c_uint32),
        ("timeout_ms", ctypes.c_uint32),
        ("result", ctypes.c_uint32),
    )


def read(sysfs: Path = Path("/sys"), devices: Path = Path("/dev")) -> Values:
    """Everything of the server that is not a GPU's."""
    values: Values = {
        "gpus_on_bus": gpus_on_bus(sysfs),
        "disks": [_disk(controller, devices) for controller in _folders(sysfs / "class/nvme")],
        "links": _links(sysfs / "class/net"),
    }
    controllers = list(sysfs.glob("devices/system/edac/mc/mc*"))
    if controllers:
        for name, file in (("memory_corrected", "ce_count"), ("memory_uncorrected", "ue_count")):
            values[name] = sum(_count(folder / file) or 0 for folder in controllers)
    return values


def gpus_on_bus(sysfs: Path = Path("/sys")) -> int:
    """How many NVIDIA GPUs the PCI bus has, with or without a driver."""
    return sum(
        _text(device / "vendor") == NVIDIA
        and (_text(device / "class") or "").startswith(_DISPLAY)
        and not (device / "physfn").exists()  # a virtual function is no GPU of its own
        for device in _folders(sysfs / "bus/pci/devices")
    )


def _disk(controller: Path, devices: Path) -> Values:
    told = {name: _text(controller / name) for name in ("model", "serial", "state")}
    values: Values = {"name": controller.name}
    values.update({name: text for name, text in told.items() if text})
    try:
        log = _smart_log(devices / controller.name)
    except OSError:  # dead, or not ours to ask: its state says which
        return values
    values["critical_warning"] = log[0]
    values["temperature_c"] = int.from_bytes(log[1:3], "little") - _KELVIN
    values["spare_percent"] = log[3]
    values["used_percent"] = log[5]
    values["media_errors"] = min(int.from_bytes(log[160:176], "little"), (1 << 63) - 1)
    return values


def _smart_log(device: Path) -> bytes:
    """The controller's SMART log, NVM Express base specification 5.1.12.1.3."""
    log = ctypes.create_string_buffer(_SMART_SIZE)
    dwords = _SMART_SIZE // 4 - 1
    command = _Command(
        opcode=_GET_LOG_PAGE,
        namespace=_ALL_NAMESPACES,
        address=ctypes.addressof(log),
        data_length=_SMART_SIZE,
        cdw10=_SMART_LOG | dwords << 16,
    )
    file = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = fcntl.ioctl(file, _ADMIN_COMMAND, command)
    finally:
        os.close(file)
    if status:
        raise OSError(f"{device}: NVMe status {status:#x}")
    return log.raw


def _links(net: Path) -> list[Values]:
    """Network interfaces that are hardware."""
    found = []
    for interface in _folders(net):
        flaps = _count(interface / "carrier_down_count")
        if flaps is None or not (interface / "device").exists():
            continue
        up = _text(interface / "operstate") == "up"
        found.append({"name": interface.name, "up": up, "down_count": flaps})
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _text(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:  # gone meanwhile, or not readable as things are
        return None


def _count(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text and text.isdecimal() else None
