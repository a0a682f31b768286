"""A file that is a raw disk: an MBR, and one partition with something in it."""

import struct
from pathlib import Path

_SECTOR = 512
_FIRST = 64
"""Sector at which the partition begins."""
_LINUX = 0x83


def write_disk_image(
    path: Path, content: bytes, *, partition: int = 1, size: int = 1 << 20
) -> Path:
    """Write the disk; its partition begins with the content."""
    disk = bytearray(size)
    entry = struct.pack("<B3xB3xII", 0x80, _LINUX, _FIRST, size // _SECTOR - _FIRST)
    at = 446 + 16 * (partition - 1)
    disk[at : at + 16] = entry
    disk[510:512] = b"\x55\xaa"
    disk[_FIRST * _SECTOR : _FIRST * _SECTOR + len(content)] = content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(disk)
    return path
