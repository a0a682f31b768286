"""Whether a file is a raw disk with the partition it is said to have.

Tables: UEFI Specification 2.10, section 5.3 (GPT), and the master boot record before it.
"""

import os
import struct
from typing import BinaryIO

from provisioner.drivers.images.errors import ImageRefused

SECTOR = 512
_GPT_SECTORS = (512, 4096)
"""Sizes of a sector that a GPT may count in."""
_HEAD = 64 * 1024

_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"QFI\xfb", "a qcow image"),
    (0, b"KDMV", "a VMDK image"),
    (0, b"# Disk DescriptorFile", "a VMDK image"),
    (0, b"vhdxfile", "a VHDX image"),
    (0, b"conectix", "a VHD image"),
    (64, b"\x7f\x10\xda\xbe", "a VDI image"),
    (0, b"\x1f\x8b", "compressed with gzip"),
    (0, b"\xfd7zXZ\x00", "compressed with xz"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (0, b"BZh", "compressed with bzip2"),
    (0, b"\x04\x22\x4d\x18", "compressed with lz4"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"hsqs", "a squashfs file system"),
    (0, b"LUKS\xba\xbe", "an encrypted volume"),
    (0, b"SQLite format 3\x00", "a database"),
    (0, b"\x7fELF", "a program"),
)
"""Offset, what is there, and what the file is then."""

_MBR_TABLE = 446
_MBR_ENTRY = 16
_MBR_SIGNATURE = b"\x55\xaa"
_PRIMARY = 4
"""Partitions of an MBR that have a number of their own; further ones are in an extended one."""
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_MOST_ENTRIES = 1024


def check_raw_disk(file: BinaryIO, partition: int) -> None:
    """Raises ImageRefused unless the file is a raw disk that holds the whole partition."""
    head = os.pread(file.fileno(), _HEAD, 0)
    for offset, magic, what in _OTHER_FORMATS:
        if head[offset : offset + len(magic)] == magic:
            raise _refused(f"the file is no raw disk image: it is {what}")
    if head[510:512] != _MBR_SIGNATURE:
        raise _refused("the file is no raw disk image: it has no partition table")
    end = _end_of_partition(file, head, partition)
    if end is None:
        raise _refused(
            f"the disk has no partition {partition}",
            "name the number of the root partition (fdisk -l shows it)",
        )
    if end > os.fstat(file.fileno()).st_size:
        raise _refused(f"the file ends before its partition {partition}", "copy the whole image")


def _end_of_partition(file: BinaryIO, head: bytes, number: int) -> int | None:
    """The offset of the partition's end; None if there is none of this number."""
    for sector in _GPT_SECTORS:
        if head[sector : sector + 8] == b"EFI PART":
            return _end_in_gpt(file, head[sector : sector + 92], sector, number)
    return _end_in_mbr(head, number)


def _end_in_gpt(file: BinaryIO, header: bytes, sector: int, number: int) -> int | None:
    table, count, size = struct.unpack_from("<QII", header, 72)
    if number > min(count, _MOST_ENTRIES) or size < 128 or table >= 1 << 40:
        return None
    entry = os.pread(file.fileno(), 48, table * sector + (number - 1) * size)
    if len(entry) < 48 or not any(entry[:16]):
        return None
    first, last = struct.unpack_from("<QQ", entry, 32)
    return int(last + 1) * sector if first <= last else None


def _end_in_mbr(head: bytes, number: int) -> int | None:
    entries = [
        struct.unpack_from("<4xB3xII", head, _MBR_TABLE + _MBR_ENTRY * place)
        for place in range(_PRIMARY)
    ]
    if number > _PRIMARY:  # somewhere in the extended partition
        entries = [entry for entry in entries if entry[0] in _EXTENDED]
        number = 1
    if number > len(entries):
        return None
    kind, first, sectors = entries[number - 1]
    return int(first + sectors) * SECTOR if kind and sectors else None


def _refused(reason: str, next_action: str = "") -> ImageRefused:
    return ImageRefused(
        reason,
        next_action=next_action or "import a raw disk image (qemu-img convert -O raw)",
    )
