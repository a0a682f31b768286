"""Write an image to one disk: only its mapped blocks, each chunk checked before it is unpacked.

One connection fetches the chunks in order; one thread per CPU checks, unpacks and writes them past
the page cache. Unmapped blocks were zero when the image was made; the disk's own command zeroes
them.

Variables: `image_url`, `image_digest`, `image_pass` (what the provisioner wants to see for it),
`disk_serial`. Result: `imaging`.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import queue
import threading
import time

from module_utils.channel import Configuration, Failure, ServerFault, Transient, progress
from module_utils.disks import RawDisk, disk_by_serial
from module_utils.http import Connection, FetchFailed, NotThere
from module_utils.partitions import move_backup_to_end
from module_utils.zstd import Corrupt, load, unpack

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from ctypes import CDLL
    from typing import Any

TRIES = 3
THREADS = min(os.cpu_count() or 1, 16)
ZERO_STEP = 1 << 30


class Image:
    """The image as the provisioner serves it."""

    def __init__(self, url: str, digest: str, token: str) -> None:
        self.connection = Connection(url, token)
        self.name = f"image {digest[:12]}"
        text = self._fetch("manifest.json", "the manifest")
        if hashlib.sha256(text).hexdigest() != digest:
            raise Configuration(f"{self.name}: the manifest is corrupt", "import the image again")
        self.manifest = json.loads(text)
        self.chunks = self.manifest["chunks"]

    def packed(self, number: int) -> bytearray:
        return self._fetch(f"chunks/{number}", f"chunk {number}")

    def corrupt(self, number: int) -> Configuration:
        return Configuration(f"{self.name}: chunk {number} is corrupt", "import the image again")

    def _fetch(self, path: str, what: str) -> bytearray:
        for attempt in range(1, TRIES + 1):
            try:
                return self.connection.get(path)
            except NotThere as missing:
                raise Configuration(
                    f"{self.name}: {what} is missing from the image library, or damaged",
                    "import the image again",
                ) from missing
            except FetchFailed as failure:
                progress(f"{what} could not be fetched ({failure}), attempt {attempt} of {TRIES}")
                last = failure
        raise Transient(
            f"{self.name}: {what} could not be fetched: {last}",
            "wait: it is tried again; check the network between server and provisioner",
        )


class Writer(threading.Thread):
    """Checks, unpacks and writes chunks from a queue until it meets None.

    After a failure it goes on draining the queue, so that the fetcher never blocks.
    """

    def __init__(
        self,
        work: queue.Queue[tuple[int, bytearray] | None],
        image: Image,
        raw: RawDisk,
        zstd: CDLL,
        done: Progress,
    ) -> None:
        super().__init__()
        self.work, self.image, self.raw, self.zstd, self.done = work, image, raw, zstd, done
        self.failure: Failure | OSError | None = None

    def run(self) -> None:
        largest = max(sum(length for _, length in c["ranges"]) for c in self.image.chunks)
        buffer = mmap.mmap(-1, largest)  # page-aligned, as O_DIRECT wants it
        while (item := self.work.get()) is not None:
            if self.failure is not None:
                continue
            try:
                self._write(*item, buffer)
            except (Failure, OSError) as failure:
                self.failure = failure

    def _write(self, number: int, packed: bytearray, buffer: mmap.mmap) -> None:
        chunk = self.image.chunks[number]
        if hashlib.sha256(packed).hexdigest() != chunk["sha256"]:
            raise self.image.corrupt(number)
        size = sum(length for _, length in chunk["ranges"])
        try:
            unpack(self.zstd, packed, buffer, size)
        except Corrupt as error:
            raise self.image.corrupt(number) from error
        view, at = memoryview(buffer), 0
        for offset, length in chunk["ranges"]:
            self.raw.write_buffer(offset, view[at : at + length])
            at += length
        self.done(size)


class Progress:
    """Writes a line to the step's log for each quarter."""

    def __init__(self, total: int) -> None:
        self.total, self.written, self.lock = total, 0, threading.Lock()

    def __call__(self, size: int) -> None:
        with self.lock:
            quarter = self.written * 4 // self.total
            self.written += size
            if self.written * 4 // self.total != quarter:
                progress(f"{self.written * 100 // self.total} % written")


def write_chunks(raw: RawDisk, image: Image) -> int:
    """Return the number of bytes written. Raises the first writer's failure."""
    total = sum(length for chunk in image.chunks for _, length in chunk["ranges"])
    work: queue.Queue[tuple[int, bytearray] | None] = queue.Queue(2 * THREADS)
    zstd, done = load(), Progress(total)
    writers = [Writer(work, image, raw, zstd, done) for _ in range(THREADS)]
    for writer in writers:
        writer.start()
    try:
        for number in range(len(image.chunks)):
            if any(writer.failure for writer in writers):
                break
            work.put((number, image.packed(number)))
    finally:
        for _ in writers:
            work.put(None)
        for writer in writers:
            writer.join()
    for writer in writers:
        if writer.failure is not None:
            raise writer.failure
    return done.written


def zero_unmapped(raw: RawDisk, chunks: list[dict[str, Any]]) -> None:
    position = 0
    for chunk in chunks:
        for offset, length in chunk["ranges"]:
            _zero(raw, position, offset)
            position = offset + length
    _zero(raw, position, raw.disk.size_bytes)


def _zero(raw: RawDisk, start: int, end: int) -> None:
    for offset in range(start, end, ZERO_STEP):
        raw.zero(offset, min(ZERO_STEP, end - offset))


def main(variables: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    image = Image(
        variables["image_url"], variables["image_digest"], variables.get("image_pass", "")
    )
    disk = disk_by_serial(variables["disk_serial"])
    needed = image.manifest["size_bytes"]
    if disk.size_bytes < needed:
        raise Configuration(
            f"disk {disk.serial} has {disk.size_bytes} bytes, {image.name} needs {needed}",
            "choose a smaller image or a larger disk",
        )
    try:
        with RawDisk(disk) as raw:
            zero_unmapped(raw, image.chunks)
            written = write_chunks(raw, image)
            move_backup_to_end(raw, needed)
            raw.flush()
            raw.reread_partitions()
    except OSError as error:
        raise ServerFault(
            f"disk {disk.serial} ({disk.name}): {error.strerror or error}", "replace the disk"
        ) from error
    seconds = round(time.monotonic() - began, 3)
    return {"imaging": {"bytes_written": written, "chunks": len(image.chunks), "seconds": seconds}}
