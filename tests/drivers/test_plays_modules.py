"""Code that runs on servers, tested here: proof of sanitising, partition tables, fetching."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.drivers.plays.runner import PLAYBOOKS

sys.path.insert(0, str(PLAYBOOKS))
from module_utils.channel import Configuration, ServerFault
from module_utils.http import Connection, FetchFailed
from module_utils.partitions import move_backup_to_end
from module_utils.readback import (
    MARKER_BYTES,
    SAMPLE_BYTES,
    SECTOR,
    ReadBack,
)

MIB = 1 << 20


class MemoryDisk:
    """Like RawDisk, over a bytearray."""

    def __init__(self, content: bytearray) -> None:
        self.content = content
        self.disk = SimpleNamespace(serial="D1", size_bytes=len(content), block_size=4096)

    def read(self, offset: int, length: int) -> memoryview:
        return memoryview(bytes(self.content[offset : offset + length]))

    def write(self, offset: int, data: bytes) -> None:
        self.content[offset : offset + len(data)] = data

    def flush(self) -> None:
        pass


class DeafDisk(MemoryDisk):
    """Claims to have written."""

    def write(self, offset: int, data: bytes) -> None:
        pass


@pytest.fixture
def marked() -> tuple[MemoryDisk, ReadBack]:
    raw = MemoryDisk(bytearray(b"tenant's data\n" * (8 * MIB // 14 + 1))[: 8 * MIB])
    raw = MemoryDisk(raw.content)
    readback = ReadBack(raw, "seed")
    readback.mark()
    return raw, readback


@pytest.mark.parametrize("must_be_zero", [True, False])
def test_an_untouched_disk_is_caught(
    marked: tuple[MemoryDisk, ReadBack], must_be_zero: bool
) -> None:
    assert "markers are still there" in marked[1].check(must_be_zero=must_be_zero)


@pytest.mark.parametrize("must_be_zero", [True, False])
def test_a_zeroed_disk_is_proven(marked: tuple[MemoryDisk, ReadBack], must_be_zero: bool) -> None:
    raw, readback = marked
    raw.content[:] = bytes(len(raw.content))
    assert readback.check(must_be_zero=must_be_zero) == ""


def test_other_content_proves_a_cryptographic_erase_and_no_overwrite(
    marked: tuple[MemoryDisk, ReadBack],
) -> None:
    raw, readback = marked
    raw.content[:] = bytes(byte ^ 0x5A for byte in raw.content)
    assert readback.check(must_be_zero=False) == ""
    assert "is not zero" in readback.check(must_be_zero=True)


def test_one_sector_of_one_marker_is_enough_to_fail(marked: tuple[MemoryDisk, ReadBack]) -> None:
    raw, readback = marked
    offset, marker = sorted(readback.markers.items())[-1]
    raw.content[:] = bytes(len(raw.content))
    raw.write(offset + MARKER_BYTES - SECTOR, marker[-SECTOR:])
    assert "1 of" in readback.check(must_be_zero=False)


def test_data_that_only_the_sample_can_see_is_found(marked: tuple[MemoryDisk, ReadBack]) -> None:
    raw, readback = marked
    place, _ = readback.samples[3]
    kept = readback.before[place]
    raw.content[:] = bytes(len(raw.content))
    raw.write(place, kept)
    assert "still holds what it held before" in readback.check(must_be_zero=False)


def test_a_disk_that_ignores_writes_proves_nothing() -> None:
    raw = DeafDisk(bytearray(MIB))
    with pytest.raises(ServerFault, match="does not return what was written"):
        ReadBack(raw, "seed").mark()


@given(blocks=st.integers(2, 100_000_000), seed=st.text())
def test_samples_and_markers_lie_on_the_disk_and_reach_its_ends(blocks: int, seed: str) -> None:
    raw = SimpleNamespace(disk=SimpleNamespace(serial="D", size_bytes=blocks * 4096 + 512))
    raw.disk.block_size = 4096
    readback = ReadBack(raw, seed)
    size = raw.disk.size_bytes
    assert all(at >= 0 and at + MARKER_BYTES <= size for at in readback.markers)
    assert {0, (blocks - 1) * 4096} <= readback.markers.keys()
    assert all(at + n <= size and at % 512 == 0 for at, n in readback.samples)
    if size > 1100 * SAMPLE_BYTES:
        assert len(readback.samples) >= 1000
    else:
        assert sum(n for _, n in readback.samples) >= size * 0.5


class FileDisk(MemoryDisk):
    """As RawDisk, over a file, which tools see too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        self.disk = SimpleNamespace(serial="D1", name="disk", path=str(path), size_bytes=size)

    def read(self, offset: int, length: int) -> memoryview:
        return memoryview(self.path.read_bytes()[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def zero(self, offset: int, length: int) -> None:
        self.write(offset, bytes(length))


def partitions(path: Path) -> int:
    shown = subprocess.run(["sfdisk", "-d", path], capture_output=True, text=True, check=True)
    return shown.stdout.count("size=")


@pytest.mark.skipif(not shutil.which("sfdisk"), reason="needs fdisk")
@pytest.mark.parametrize("grown_by", [0, 512, 4096, 5 * MIB])
def test_the_backup_partition_table_is_at_the_end_of_a_larger_disk(
    tmp_path: Path, grown_by: int
) -> None:
    path, size = tmp_path / "disk", 8 * MIB
    path.write_bytes(b"boot code".ljust(size, b"\0"))
    table = "label: gpt\nstart=2048,size=2048\nstart=4096,size=4096\n"
    subprocess.run(["sfdisk", "-q", path], input=table, text=True, check=True)
    with path.open("r+b") as file:
        file.truncate(size + grown_by)
    raw = FileDisk(path)
    move_backup_to_end(raw, size)
    verified = subprocess.run(
        ["sfdisk", "--verify", path], capture_output=True, text=True, check=False
    )
    assert "No errors detected" in verified.stdout, verified.stdout + verified.stderr
    assert partitions(path) == 2
    content = path.read_bytes()
    assert content.startswith(b"boot code")
    assert content.count(b"EFI PART") == 2
    assert content[-512:].startswith(b"EFI PART")
    # Damage to the primary is repaired from the backup, which is complete.
    raw.zero(512, 512)
    assert partitions(path) == 2


@pytest.mark.skipif(not shutil.which("sfdisk"), reason="needs fdisk")
def test_an_image_for_other_sectors_than_the_disks_is_refused(tmp_path: Path) -> None:
    """As on a disk of 4,096-byte sectors, sfdisk sees the protective MBR and no GPT."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(MIB))
    subprocess.run(["sfdisk", "-q", path], input="start=1,type=ee\n", text=True, check=True)
    raw = FileDisk(path)
    raw.write(SECTOR, b"EFI PART")
    with pytest.raises(Configuration, match="does not take the image's partition table"):
        move_backup_to_end(raw, MIB // 2)


@pytest.mark.skipif(not shutil.which("sfdisk"), reason="needs fdisk")
def test_a_partition_table_that_cannot_be_read_is_a_fault_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(MIB))
    raw = FileDisk(path)
    raw.write(SECTOR, b"EFI PART")
    with pytest.raises(ServerFault, match="does not contain a recognized partition table"):
        move_backup_to_end(raw, MIB // 2)


def test_a_disk_without_a_partition_table_is_left_alone() -> None:
    raw = MemoryDisk(bytearray(b"\x01" * MIB))
    move_backup_to_end(raw, MIB // 2)
    assert raw.content == b"\x01" * MIB


class Files(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: set[tuple[str, int]] = set()  # noqa: RUF012  the test's, reset by its fixture

    def do_GET(self) -> None:
        self.connections.add(self.client_address)
        status, body = (500, b"no") if "broken" in self.path else (200, self.path.encode())
        if self.path.endswith("/authorization"):
            body = self.headers["Authorization"].encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + ("short" in self.path)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = "short" in self.path

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def file_server() -> Iterator[str]:
    Files.connections = set()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/images/abc"
        server.shutdown()
        thread.join()


def test_files_are_fetched_over_one_connection(file_server: str) -> None:
    connection = Connection(file_server)
    for name in ("manifest.json", "chunks/0", "chunks/1"):
        assert bytes(connection.get(name)) == f"/images/abc/{name}".encode()
    assert len(Files.connections) == 1
    connection.close()


def test_a_pass_is_shown_with_every_request(file_server: str) -> None:
    connection = Connection(file_server, "a-pass")
    for _ in range(2):
        assert bytes(connection.get("authorization")) == b"Bearer a-pass"
    connection.close()


@pytest.mark.parametrize("name", ["broken", "short"])
def test_a_refusal_and_a_cut_answer_are_failures_and_the_next_fetch_works(
    file_server: str, name: str
) -> None:
    connection = Connection(file_server)
    with pytest.raises(FetchFailed):
        connection.get(name)
    assert bytes(connection.get("good")) == b"/images/abc/good"
    connection.close()
