"""Reads the health of disks; changes nothing and starts no self-test.

NVMe is read from the SMART log, SATA from the SMART status and the device statistics, SAS from the
informational exceptions.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

from agent import sysfs
from agent.signals import Values

# Linux uapi, linux/nvme_ioctl.h: struct nvme_passthru_cmd, 72 bytes, _IOWR('N', 0x41, …)
_ADMIN_COMMAND = 0xC0484E41
_GET_LOG_PAGE = 0x02
_SMART_LOG = 0x02
_SMART_SIZE = 512
_ALL_NAMESPACES = 0xFFFFFFFF
_KELVIN = 273

# Linux uapi, scsi/sg.h
_SG_IO = 0x2285
_NO_DATA, _FROM_DEVICE = -1, -3
_TIMEOUT_MS = 5000
_SENSE_SIZE = 32
_CHECK_CONDITION = 0x02

_COUNT_MAX = (1 << 63) - 1


class _NvmeCommand(ctypes.Structure):
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


class _ScsiRequest(ctypes.Structure):
    """struct sg_io_hdr."""

    _fields_ = (
        ("interface", ctypes.c_int),
        ("direction", ctypes.c_int),
        ("command_length", ctypes.c_uint8),
        ("sense_size", ctypes.c_uint8),
        ("parts", ctypes.c_uint16),
        ("data_length", ctypes.c_uint32),
        ("data", ctypes.c_void_p),
        ("command", ctypes.c_void_p),
        ("sense", ctypes.c_void_p),
        ("timeout_ms", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("pack_id", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("status", ctypes.c_uint8),
        ("masked_status", ctypes.c_uint8),
        ("message_status", ctypes.c_uint8),
        ("sense_length", ctypes.c_uint8),
        ("host_status", ctypes.c_uint16),
        ("driver_status", ctypes.c_uint16),
        ("residue", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("info", ctypes.c_uint32),
    )


def read(sys: Path, devices: Path) -> list[Values]:
    """Read every physical disk; one that does not answer is reported as the kernel sees it."""
    scsi = (
        disk
        for disk in sysfs.folders(sys / "block")
        # A BMC's virtual media are removable.
        if disk.name.startswith("sd") and sysfs.text(disk / "removable") == "0"
    )
    return [
        *(_nvme(controller, devices) for controller in sysfs.folders(sys / "class/nvme")),
        *(_scsi(disk, devices) for disk in scsi),
    ]


def _known(name: str, **texts: str | None) -> Values:
    """Return what the kernel knows about a disk."""
    return {"name": name, **{signal: text for signal, text in texts.items() if text}}


def _nvme(controller: Path, devices: Path) -> Values:
    values = _known(
        controller.name,
        model=sysfs.text(controller / "model"),
        serial=sysfs.text(controller / "serial"),
        state=sysfs.text(controller / "state"),
    )
    try:
        log = _smart_log(devices / controller.name)
    except OSError:  # dead, or not permitted: its state says which
        return values
    values["critical_warning"] = log[0]
    values["temperature_c"] = int.from_bytes(log[1:3], "little") - _KELVIN
    values["spare_percent"] = log[3]
    values["used_percent"] = log[5]
    values["media_errors"] = min(int.from_bytes(log[160:176], "little"), _COUNT_MAX)
    return values


def _smart_log(device: Path) -> bytes:
    """Read the controller's SMART log, NVM Express base specification 5.1.12.1.3."""
    log = ctypes.create_string_buffer(_SMART_SIZE)
    dwords = _SMART_SIZE // 4 - 1
    command = _NvmeCommand(
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


def _scsi(disk: Path, devices: Path) -> Values:
    state = sysfs.text(disk / "device/state")
    values = _known(
        disk.name,
        model=sysfs.text(disk / "device/model"),
        serial=_serial(disk / "device/vpd_pg80"),
        state="live" if state == "running" else state,
    )
    try:
        file = os.open(devices / disk.name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return values
    try:
        sata = sysfs.text(disk / "device/vendor") == "ATA"
        for ask in _SATA if sata else (_sas_exceptions,):
            with suppress(OSError):  # not supported by this disk; the rest still counts
                values.update(ask(file))
    finally:
        os.close(file)
    return values


def _serial(page: Path) -> str | None:
    """Read the unit serial number page, SPC-5 7.7.16."""
    try:
        return page.read_bytes()[4:].decode("ascii", "replace").strip()
    except OSError:
        return None


def _sata_verdict(file: int) -> Values:
    """Read SMART RETURN STATUS, ACS-3 7.48.8: the disk compares its attributes to thresholds."""
    healthy, failing = (0x4F, 0xC2), (0xF4, 0x2C)
    command = _ata(0xB0, protocol=3, flags=0x20, feature=0xDA, lba_mid=0x4F, lba_high=0xC2)
    _, sense = _ask(file, command, 0)
    if sense[0] & 0x7F == 0x72 and sense[8] == 0x09:  # SAT-3 12.2.7: ATA Status Return descriptor
        said = sense[17], sense[19]
    else:  # the same in the fixed format
        said = sense[10], sense[11]
    if said not in (healthy, failing):
        raise OSError("the disk does not answer SMART RETURN STATUS")
    return {"failure_predicted": said == failing}


def _sata_statistic(name: str, page: int, size: int, signed: bool, file: int) -> Values:
    """Read the first value on a page of the device statistics, ACS-3 A.5."""
    command = _ata(0x2F, protocol=4, flags=0x0E, count=1, lba_low=0x04, lba_mid=page)
    data, _ = _ask(file, command, 512)
    supported_and_valid = data[15] & 0xC0 == 0xC0
    if data[2] != page or not supported_and_valid:
        return {}
    return {name: int.from_bytes(data[8 : 8 + size], "little", signed=signed)}


def _sas_exceptions(file: int) -> Values:
    """Read the informational exceptions log page, SPC-5 7.3.9."""
    failure_prediction_threshold_exceeded, unknown = 0x5D, 0xFF
    data, _ = _ask(file, bytes([0x4D, 0, 0x40 | 0x2F, 0, 0, 0, 0, 0, 64, 0]), 64)
    if data[0] & 0x3F != 0x2F:
        raise OSError("the disk has no informational exceptions")
    values: Values = {"failure_predicted": data[8] == failure_prediction_threshold_exceeded}
    if data[10] != unknown:
        values["temperature_c"] = data[10]
    return values


_SATA = (
    _sata_verdict,
    partial(_sata_statistic, "media_errors", 4, 4, False),
    partial(_sata_statistic, "temperature_c", 5, 1, True),
    partial(_sata_statistic, "used_percent", 7, 1, False),
)


def _ata(
    command: int,
    *,
    protocol: int,
    flags: int,
    feature: int = 0,
    count: int = 0,
    lba_low: int = 0,
    lba_mid: int = 0,
    lba_high: int = 0,
) -> bytes:
    """Build ATA PASS-THROUGH (16), SAT-3 12.2.2. Only log reads use a 48-bit command."""
    extend = command == 0x2F
    head = [0x85, protocol << 1 | extend, flags, 0, feature, 0, count]
    return bytes([*head, 0, lba_low, 0, lba_mid, 0, lba_high, 0, command, 0])


def _ask(file: int, command: bytes, size: int) -> tuple[bytes, bytes]:
    """Send a SCSI command; return its data and sense. Raises `OSError` if the disk refused it.

    Sense data that the command asked for is not a refusal.
    """
    data = ctypes.create_string_buffer(max(size, 1))
    sense = ctypes.create_string_buffer(_SENSE_SIZE)
    words = ctypes.create_string_buffer(command, len(command))
    request = _ScsiRequest(
        interface=ord("S"),
        direction=_FROM_DEVICE if size else _NO_DATA,
        command_length=len(command),
        sense_size=_SENSE_SIZE,
        data_length=size,
        data=ctypes.addressof(data),
        command=ctypes.addressof(words),
        sense=ctypes.addressof(sense),
        timeout_ms=_TIMEOUT_MS,
    )
    fcntl.ioctl(file, _SG_IO, request)
    refused = request.host_status or request.status not in (0, _CHECK_CONDITION)
    if refused or (size and request.status):
        raise OSError(f"SCSI status {request.status:#x}, host {request.host_status:#x}")
    return data.raw, sense.raw
