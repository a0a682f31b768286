"""The server's block devices, and raw access to them that bypasses the page cache."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct

from module_utils.channel import Configuration, ServerFault

SECTOR = 512
# Not the server's disks: memory, images, mappings, optical drives (a BMC's virtual media).
NOT_DISKS = ("loop", "ram", "zram", "sr", "dm-", "md", "nbd", "fd", "mtdblock")

BLKDISCARD = 0x1277
BLKZEROOUT = 0x127F
BLKRRPART = 0x125F


def read_sys(path: str, default: str = "") -> str:
    try:
        with open(path, errors="replace") as handle:
            return handle.read().strip()
    except OSError:
        # sysfs omits, or refuses, attributes that a device does not have.
        return default


class Disk:
    """One whole block device, as sysfs describes it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = "/dev/" + name
        self.sys = "/sys/block/" + name
        self.transport = _transport(self.sys, name)
        self.serial = _serial(self.sys)
        self.model = read_sys(self.sys + "/device/model")
        self.firmware = read_sys(self.sys + "/device/firmware_rev") or read_sys(
            self.sys + "/device/rev"
        )
        self.size_bytes = int(read_sys(self.sys + "/size", "0")) * SECTOR
        self.rotational = read_sys(self.sys + "/queue/rotational") == "1"
        self.discards = int(read_sys(self.sys + "/queue/discard_max_bytes", "0")) > 0
        self.block_size = max(4096, int(read_sys(self.sys + "/queue/logical_block_size", "512")))
        self.nvme_namespace = int(read_sys(self.sys + "/nsid", "0"))


def _transport(sys_path: str, name: str) -> str:
    if name.startswith("nvme"):
        return "nvme"
    if name.startswith("vd"):
        return "virtio"
    place = os.path.realpath(sys_path)
    if "/usb" in place:
        return "usb"
    return "sata" if "/ata" in place else "scsi"


def _serial(sys_path: str) -> str:
    serial = read_sys(sys_path + "/device/serial") or read_sys(sys_path + "/serial")
    if serial:
        return serial
    try:
        # SCSI and SATA: Unit Serial Number, SPC-4 section 7.8.15; four bytes of header.
        with open(sys_path + "/device/vpd_pg80", "rb") as handle:
            return handle.read()[4:].decode(errors="replace").strip("\0 ")
    except OSError:
        return ""


def disks() -> list[Disk]:
    """Every disk with a medium, sorted by name."""
    names = sorted(n for n in os.listdir("/sys/block") if not n.startswith(NOT_DISKS))
    return [disk for disk in map(Disk, names) if disk.size_bytes]


def disk_by_serial(serial: str) -> Disk:
    """Raises Configuration unless exactly one disk has this serial number."""
    present = disks()
    found = [disk for disk in present if disk.serial == serial]
    if len(found) != 1:
        have = ", ".join(f"{disk.serial} ({disk.name})" for disk in present) or "no disk"
        raise Configuration(
            f"{len(found)} disks have the serial number {serial}; the server has {have}",
            "inspect the server again and check which disk receives the image",
        )
    return found[0]


class RawDisk:
    """A disk opened exclusively with O_DIRECT: reads come from the medium.

    Offsets and lengths are multiples of the disk's block size; one read or write is at most
    `BUFFER` bytes. A disk in use (mounted, in a RAID) is a ServerFault.
    """

    BUFFER = 4 << 20

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        try:
            self.fd = os.open(disk.path, os.O_RDWR | os.O_DIRECT | os.O_EXCL)
        except OSError as error:
            raise ServerFault(
                f"disk {disk.serial} ({disk.name}) cannot be opened exclusively: {error.strerror}",
                "look at the disk from the server's console; it may be in use or write-protected",
            ) from error
        # A page-aligned buffer, as O_DIRECT wants it.
        self.buffer = memoryview(mmap.mmap(-1, self.BUFFER))

    def __enter__(self) -> RawDisk:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def read(self, offset: int, length: int) -> memoryview:
        """Return a view that the next read overwrites. Raises OSError."""
        view = self.buffer[:length]
        if os.preadv(self.fd, [view], offset) != length:
            raise OSError(0, f"short read at {offset}")
        return view

    def write(self, offset: int, data: bytes | bytearray) -> None:
        """Raises OSError."""
        view = self.buffer[: len(data)]
        view[:] = data
        self.write_buffer(offset, view)

    def write_buffer(self, offset: int, view: memoryview) -> None:
        """Write from the caller's own page-aligned view. Raises OSError."""
        if os.pwritev(self.fd, [view], offset) != len(view):
            raise OSError(0, f"short write at {offset}")

    def flush(self) -> None:
        os.fsync(self.fd)

    def discard(self, offset: int, length: int) -> None:
        fcntl.ioctl(self.fd, BLKDISCARD, struct.pack("QQ", offset, length))

    def zero(self, offset: int, length: int) -> None:
        """Zero a range by the disk's Write Zeroes command, or by the kernel if it has none."""
        fcntl.ioctl(self.fd, BLKZEROOUT, struct.pack("QQ", offset, length))

    def reread_partitions(self) -> None:
        fcntl.ioctl(self.fd, BLKRRPART)
