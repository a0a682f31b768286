"""From a raw disk file to chunks: holes and zero blocks are left out, the rest is compressed."""

import errno
import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import zstandard

from provisioner.drivers.images.manifest import Chunk

BLOCK = 64 << 10
"""Granularity of the map: smaller finds more zeroes, larger makes fewer ranges."""
CHUNK = 4 << 20
"""Raw bytes in a chunk: the unit of checking, retrying and, later, sharing between peers."""
READ = 4 << 20
LEVEL = 9
"""Import once, write often: from here on more effort no longer makes a smaller file."""

_ZERO = bytes(BLOCK)


def mapped_blocks(raw: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(offset, content) of every block that is not all zeroes, in order."""
    source = raw.fileno()
    size = os.fstat(source).st_size
    position = 0
    while (data := _next_data(source, position)) is not None:
        start = data - data % BLOCK
        hole = os.lseek(source, data, os.SEEK_HOLE)
        end = min(hole + -hole % BLOCK, size)
        for offset in range(start, end, READ):
            piece = os.pread(source, min(READ, end - offset), offset)
            for at in range(0, len(piece), BLOCK):
                block = piece[at : at + BLOCK]
                if block != _ZERO[: len(block)]:
                    yield offset + at, block
        position = end


def _next_data(file: int, position: int) -> int | None:
    try:
        return os.lseek(file, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None  # nothing but a hole up to the end
        raise


def pack(raw: BinaryIO, folder: Path) -> Iterator[Chunk]:
    """Write chunk files `0`, `1`, … to `folder`, compressing on all CPUs."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Chunk]] = deque()
        for number, (content, ranges) in enumerate(_chunks(raw)):
            waiting.append(pool.submit(_store, content, ranges, folder / str(number)))
            if len(waiting) > 2 * workers:  # bounds memory
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _chunks(raw: BinaryIO) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
    content = bytearray()
    ranges: list[tuple[int, int]] = []
    for offset, block in mapped_blocks(raw):
        if ranges and sum(ranges[-1]) == offset:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + len(block))
        else:
            ranges.append((offset, len(block)))
        content += block
        if len(content) >= CHUNK:
            yield bytes(content), ranges
            content, ranges = bytearray(), []
    if ranges:
        yield bytes(content), ranges


def _store(content: bytes, ranges: list[tuple[int, int]], path: Path) -> Chunk:
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(content)
    with path.open("wb") as file:
        file.write(packed)
        os.fsync(file.fileno())
    return Chunk(hashlib.sha256(packed).hexdigest(), len(packed), ranges)
