"""Writes an image to one disk: only its mapped blocks, each chunk checked before it is unpacked.

One curl fetches all chunks, one zstd unpacks them, the blocks go to the disk past the page cache.
What the image does not map is zeroed by the disk's own command, so that blocks which were left
out for being zero are zero.

Variables: `image_url`, `image_digest`, `disk_serial`. Result: `imaging`.
"""

import fcntl
import hashlib
import json
import mmap
import subprocess
import threading
import time

from module_utils.channel import Configuration, Failure, ServerFault, Transient, progress
from module_utils.disks import RawDisk, disk_by_serial
from module_utils.gpt import move_backup_to_end

TRIES = 3
WRITE = 4 << 20
CONNECT_TIMEOUT_S = "10"
STALL_S = "30"
F_SETPIPE_SZ = 1031
PIPE_BYTES = 1 << 20
ZERO_STEP = 1 << 30
AGAIN = "it is tried again; check the network between server and provisioner"


class FetchEnded(Exception):
    """curl ended before all was there."""


class Fetch:
    """The bodies of several URLs of one server, one after the other, over one connection."""

    def __init__(self, urls):
        options = ["--silent", "--show-error", "--fail-early", "--fail", "--globoff"]
        limits = ["--connect-timeout", CONNECT_TIMEOUT_S, "--speed-time", STALL_S]
        limits += ["--speed-limit", "1024"]
        self.process = subprocess.Popen(
            ["curl", *options, *limits, "--config", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        _widen(self.process.stdout)
        self.process.stdin.write("".join(f'url = "{url}"\n' for url in urls).encode())
        self.process.stdin.close()

    def read(self, length):
        """`length` bytes, or all of it when None. Raises FetchEnded."""
        data = self.process.stdout.read(-1 if length is None else length)
        if length is None or len(data) < length:
            said = self.process.stderr.read().decode(errors="replace").strip()
            if self.process.wait() or length is not None:
                raise FetchEnded(said or "the connection was closed")
        return data

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def _widen(pipe):
    fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)


def fetch_manifest(url, digest):
    fetch = Fetch([f"{url}/manifest.json"])
    try:
        text = fetch.read(None)
    except FetchEnded as ended:
        raise Transient(
            f"the manifest of image {digest[:12]} did not come: {ended}", AGAIN
        ) from ended
    finally:
        fetch.close()
    if hashlib.sha256(text).hexdigest() != digest:
        raise Configuration(f"the manifest of image {digest[:12]} is corrupt", "import it again")
    return json.loads(text)


def checked_chunks(url, digest, chunks):
    """Each compressed chunk once its SHA-256 is right. Goes on where a connection broke."""
    number, tries = 0, 0
    while number < len(chunks):
        fetch = Fetch([f"{url}/chunks/{n}" for n in range(number, len(chunks))])
        try:
            for chunk in chunks[number:]:
                packed = fetch.read(chunk["bytes"])
                if hashlib.sha256(packed).hexdigest() != chunk["sha256"]:
                    raise Configuration(
                        f"image {digest[:12]}: chunk {number} is corrupt", "import the image again"
                    )
                yield packed
                number, tries = number + 1, 0
        except FetchEnded as ended:
            tries += 1
            if tries == TRIES:
                reason = f"image {digest[:12]}: chunk {number} did not come: {ended}"
                raise Transient(reason, AGAIN) from ended
            progress(f"chunk {number} did not come ({ended}), fetching again")
        finally:
            fetch.close()


class Feeder(threading.Thread):
    """Puts checked chunks into zstd while the main thread takes blocks out of it."""

    def __init__(self, chunks, pipe):
        super().__init__(daemon=True)
        self.chunks, self.pipe, self.failure = chunks, pipe, None

    def run(self):
        try:
            for packed in self.chunks:
                self.pipe.write(packed)
        except Failure as failure:
            self.failure = failure
        except BrokenPipeError:
            pass  # zstd ended: the main thread sees what is missing
        finally:
            self.pipe.close()


def write_chunks(raw, chunks, packed):
    """Bytes written. The ranges of all chunks follow each other in what zstd puts out."""
    zstd = subprocess.Popen(
        ["zstd", "--decompress", "--stdout", "--quiet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    _widen(zstd.stdin)
    _widen(zstd.stdout)
    feeder = Feeder(packed, zstd.stdin)
    feeder.start()
    buffer = memoryview(mmap.mmap(-1, WRITE))
    written, total = 0, sum(length for chunk in chunks for _, length in chunk["ranges"])
    try:
        for chunk in chunks:
            for offset, length in chunk["ranges"]:
                for at in range(0, length, WRITE):
                    view = buffer[: min(WRITE, length - at)]
                    if not _fill(zstd.stdout, view):
                        feeder.join()
                        raise feeder.failure or Transient("zstd ended early", AGAIN)
                    raw.write_buffer(offset + at, view)
                    if written * 4 // total != (written + len(view)) * 4 // total:
                        progress(f"{(written + len(view)) * 100 // total} % written")
                    written += len(view)
    finally:
        zstd.kill()
        zstd.wait()
    feeder.join()
    return written


def _fill(pipe, view):
    """False when the pipe ends first."""
    got = 0
    while got < len(view):
        count = pipe.readinto(view[got:])
        if not count:
            return False
        got += count
    return True


def zero_unmapped(raw, chunks):
    position = 0
    for chunk in chunks:
        for offset, length in chunk["ranges"]:
            _zero(raw, position, offset)
            position = offset + length
    _zero(raw, position, raw.disk.size_bytes)


def _zero(raw, start, end):
    for offset in range(start, end, ZERO_STEP):
        raw.zero(offset, min(ZERO_STEP, end - offset))


def main(variables):
    began = time.monotonic()
    url, digest = variables["image_url"], variables["image_digest"]
    manifest = fetch_manifest(url, digest)
    disk = disk_by_serial(variables["disk_serial"])
    if disk.size_bytes < manifest["size_bytes"]:
        raise Configuration(
            f"disk {disk.serial} has {disk.size_bytes} bytes, "
            f"image {manifest['name']} needs {manifest['size_bytes']}",
            "choose a smaller image or a larger disk",
        )
    chunks = manifest["chunks"]
    try:
        with RawDisk(disk) as raw:
            zero_unmapped(raw, chunks)
            zeroed = time.monotonic()
            written = write_chunks(raw, chunks, checked_chunks(url, digest, chunks))
            move_backup_to_end(raw, manifest["size_bytes"])
            raw.flush()
            raw.reread_partitions()
    except OSError as error:
        raise ServerFault(
            f"disk {disk.serial} ({disk.name}): {error.strerror or error}", "replace the disk"
        ) from error
    return {
        "imaging": {
            "bytes_written": written,
            "chunks": len(chunks),
            "seconds": round(time.monotonic() - began, 3),
            "zero_seconds": round(zeroed - began, 3),
        }
    }
