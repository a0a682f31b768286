"""What the agent reads from disks: a made-up sysfs, and devices that follow the standards."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sysfs_files import put

from agent import disks

SMART_STATUS = (0xB0, 0xDA)
HEALTHY, FAILING = (0x4F, 0xC2), (0xF4, 0x2C)


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    return tmp_path / "sys"


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    return put(tmp_path / "dev", nvme0="", sda="")


def scsi_disk(sys: Path, vendor: str, **values: str) -> Path:
    disk = put(sys / "block/sda", removable=values.pop("removable", "0"))
    put(disk / "device", vendor=vendor, model="DISK 1", state="running", **values)
    (disk / "device/vpd_pg80").write_bytes(b"\0\x80\0\x08 IL01-A ")
    return disk


def test_a_disk_that_cannot_be_asked_still_has_its_state(sys: Path, tmp_path: Path) -> None:
    put(sys / "class/nvme/nvme0", model="QEMU NVMe Ctrl", serial="IL01-A", state="dead")
    assert disks.read(sys, tmp_path) == [
        {"name": "nvme0", "model": "QEMU NVMe Ctrl", "serial": "IL01-A", "state": "dead"}
    ]


def test_nvmes_smart_log_is_understood(
    sys: Path, devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sys / "class/nvme/nvme0", state="live")
    log = bytearray(512)
    log[0:6] = bytes([0b1000, *(273 + 41).to_bytes(2, "little"), 97, 10, 102])
    log[160:168] = (3).to_bytes(8, "little")

    def answer(_file: int, request: int, command: disks._NvmeCommand) -> int:
        assert (request, command.opcode, command.cdw10) == (0xC0484E41, 2, 0x007F0002)
        ctypes.memmove(command.address, bytes(log), command.data_length)
        return 0

    monkeypatch.setattr(disks.fcntl, "ioctl", answer)
    assert disks.read(sys, devices) == [
        {
            "name": "nvme0",
            "state": "live",
            "critical_warning": 8,
            "temperature_c": 41,
            "spare_percent": 97,
            "used_percent": 102,
            "media_errors": 3,
        }
    ]


def answers(respond: Callable[[bytes], tuple[int, bytes, bytes]]) -> Callable[..., int]:
    """Return an ioctl that answers a SCSI command with status, data and sense."""

    def ioctl(_file: int, request: int, scsi: disks._ScsiRequest) -> int:
        assert (request, scsi.interface) == (0x2285, ord("S"))
        status, data, sense = respond(ctypes.string_at(scsi.command, scsi.command_length))
        scsi.status = status
        ctypes.memmove(scsi.data, data, min(len(data), scsi.data_length))
        ctypes.memmove(scsi.sense, sense, min(len(sense), scsi.sense_size))
        return 0

    return ioctl


def statistic(page: int, value: bytes) -> bytes:
    return (bytes([1, 0, page]).ljust(8, b"\0") + value.ljust(7, b"\0") + b"\xc0").ljust(512, b"\0")


def described(mid: int, high: int) -> bytes:
    """Return sense data in the descriptor format with the ATA registers."""
    sense = bytearray(22)
    sense[0], sense[8], sense[9], sense[17], sense[19] = 0x72, 0x09, 0x0C, mid, high
    return bytes(sense)


def fixed(mid: int, high: int) -> bytes:
    sense = bytearray(18)
    sense[0], sense[10], sense[11] = 0x70, mid, high
    return bytes(sense)


@pytest.mark.parametrize(
    ("sense", "failing"),
    [
        (described(*HEALTHY), False),
        (described(*FAILING), True),
        (fixed(*HEALTHY), False),
        (fixed(*FAILING), True),
    ],
    ids=["healthy", "failing", "healthy, fixed format", "failing, fixed format"],
)
def test_a_sata_disks_verdict_and_statistics_are_understood(
    sys: Path, devices: Path, monkeypatch: pytest.MonkeyPatch, sense: bytes, failing: bool
) -> None:
    pages = {4: (5).to_bytes(4, "little"), 5: bytes([0x100 - 3]), 7: bytes([12])}

    def respond(command: bytes) -> tuple[int, bytes, bytes]:
        assert (command[0], len(command)) == (0x85, 16)
        if (command[14], command[4]) == SMART_STATUS:
            assert (command[10], command[12]) == HEALTHY  # the key that SMART commands carry
            return 2, b"", sense
        assert (command[14], command[8]) == (0x2F, 0x04)
        return 0, statistic(command[10], pages[command[10]]), b""

    scsi_disk(sys, "ATA")
    monkeypatch.setattr(disks.fcntl, "ioctl", answers(respond))
    assert disks.read(sys, devices) == [
        {
            "name": "sda",
            "model": "DISK 1",
            "serial": "IL01-A",
            "state": "live",
            "failure_predicted": failing,
            "media_errors": 5,
            "temperature_c": -3,
            "used_percent": 12,
        }
    ]


def test_what_a_sata_disk_refuses_is_absent(
    sys: Path, devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def respond(command: bytes) -> tuple[int, bytes, bytes]:
        if command[14] == 0x2F and command[10] == 5:
            return 0, statistic(5, bytes([30])), b""
        return 2, b"", bytes([0x72, 0x0B])  # aborted

    scsi_disk(sys, "ATA")
    monkeypatch.setattr(disks.fcntl, "ioctl", answers(respond))
    [disk] = disks.read(sys, devices)
    assert disk.keys() == {"name", "model", "serial", "state", "temperature_c"}


@pytest.mark.parametrize(("asc", "failing"), [(0x00, False), (0x5D, True)])
def test_a_sas_disks_informational_exceptions_are_understood(
    sys: Path, devices: Path, monkeypatch: pytest.MonkeyPatch, asc: int, failing: bool
) -> None:
    def respond(command: bytes) -> tuple[int, bytes, bytes]:
        assert (command[0], command[2]) == (0x4D, 0x6F)
        return 0, bytes([0x2F, 0, 0, 8, 0, 0, 3, 4, asc, 0, 33, 0]), b""

    scsi_disk(sys, "SEAGATE")
    monkeypatch.setattr(disks.fcntl, "ioctl", answers(respond))
    [disk] = disks.read(sys, devices)
    assert (disk["failure_predicted"], disk["temperature_c"]) == (failing, 33)


def test_the_kernels_word_for_a_disk_that_is_gone_is_told(
    sys: Path, devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ioctl(*_: Any) -> int:
        raise OSError("no such device")

    put(scsi_disk(sys, "ATA") / "device", state="offline")
    monkeypatch.setattr(disks.fcntl, "ioctl", ioctl)
    [disk] = disks.read(sys, devices)
    assert disk["state"] == "offline"


def test_a_bmcs_virtual_medium_is_no_disk(sys: Path, devices: Path) -> None:
    scsi_disk(sys, "AMI", removable="1")
    assert disks.read(sys, devices) == []


def test_the_ioctls_structures_have_the_kernels_sizes() -> None:
    assert (ctypes.sizeof(disks._NvmeCommand), ctypes.sizeof(disks._ScsiRequest)) == (72, 88)
