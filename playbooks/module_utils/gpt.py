"""The back-up partition table belongs at the disk's end, wherever the image's disk ended.

UEFI Specification 2.10, section 5.3.2: header fields at their offsets, CRC32 with its own field
zeroed.
"""

from __future__ import annotations

import struct
import zlib

from module_utils.disks import RawDisk

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from typing import Any

SIGNATURE = b"EFI PART"
SECTOR = 512
HEADER = struct.Struct("<8s4sIIIQQQQ16sQIII")
MBR_ENTRY, MBR_TYPE_GPT = 446, 0xEE
BLOCK = 4096


def move_backup_to_end(raw: RawDisk, image_bytes: int) -> None:
    """Write primary header and back-up for the real disk; images without a GPT stay as they are.

    Sectors of 512 bytes: images are made with them, disks with others are refused by their
    partition table not being found.
    """
    head = bytearray(raw.read(0, 2 * BLOCK))
    header = head[SECTOR : 2 * SECTOR]
    if header[:8] != SIGNATURE or raw.disk.size_bytes == image_bytes:
        return
    fields = list(HEADER.unpack_from(header))
    header_size, entries_lba, count, entry_size = fields[2], fields[10], fields[11], fields[12]
    table_bytes = -(-count * entry_size // SECTOR) * SECTOR
    table_end = entries_lba * SECTOR + table_bytes
    table = bytes(raw.read(0, -(-table_end // BLOCK) * BLOCK))[entries_lba * SECTOR : table_end]
    last = raw.disk.size_bytes // SECTOR - 1
    table_sectors = table_bytes // SECTOR
    fields[5], fields[6], fields[8] = 1, last, last - table_sectors - 1
    head[SECTOR : SECTOR + header_size] = _sealed(header[:header_size], fields)
    if head[MBR_ENTRY + 4] == MBR_TYPE_GPT:
        # The protective entry spans the disk, or as much as 32 bits can say.
        struct.pack_into("<I", head, MBR_ENTRY + 12, min(last, 0xFFFFFFFF))
    fields[5], fields[6], fields[10] = last, 1, last - table_sectors
    backup = _sealed(header[:header_size], fields).ljust(SECTOR, b"\0")
    _clear_old_backup(raw, image_bytes, table_bytes)
    tail = table + backup
    start = (raw.disk.size_bytes - len(tail)) // BLOCK * BLOCK
    lead = raw.disk.size_bytes - len(tail) - start
    end = bytearray(raw.read(start, raw.disk.size_bytes - start))
    end[lead:] = tail
    raw.write(start, end)
    raw.write(0, head)


def _clear_old_backup(raw: RawDisk, image_bytes: int, table_bytes: int) -> None:
    """The image's own back-up now lies in the middle of the disk, where tools might find it."""
    start = image_bytes - table_bytes - SECTOR
    block = start // BLOCK * BLOCK
    view = bytearray(raw.read(block, -(-(image_bytes - block) // BLOCK) * BLOCK))
    view[start - block : image_bytes - block] = bytes(image_bytes - start)
    raw.write(block, view)


def _sealed(header: bytearray, fields: list[Any]) -> bytearray:
    fields[3] = 0
    header = bytearray(header)
    HEADER.pack_into(header, 0, *fields)
    struct.pack_into("<I", header, 16, zlib.crc32(header))
    return header
