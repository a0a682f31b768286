"""The image library on real files: packing, digests, corruption, refusals."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.domain.failures import FailureKind
from provisioner.drivers.images import (
    BootFacts,
    ImageCorrupt,
    ImageLibrary,
    ImageManifest,
    ImageMissing,
    ImageRefused,
    packing,
)

BOOT = BootFacts(partition=2, kernel="/boot/vmlinuz", cmdline="/boot/cmdline", user="root")
MIB = 1 << 20


@pytest.fixture
def library(tmp_path: Path) -> ImageLibrary:
    return ImageLibrary(tmp_path / "library")


def raw_disk(path: Path, size: int, *content: tuple[int, bytes]) -> Path:
    """Create a sparse file with content at offsets."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in content:
            file.seek(offset)
            file.write(data)
    return path


def unpacked(library: ImageLibrary, manifest: ImageManifest) -> bytes:
    """Return what a disk of zeroes holds once the image has been written to it."""
    disk = bytearray(manifest.size_bytes)
    for number, chunk in enumerate(manifest.chunks):
        packed = library.chunk_path(manifest.digest, number).read_bytes()
        content = zstandard.ZstdDecompressor().decompress(packed)
        for offset, length in chunk.ranges:
            disk[offset : offset + length], content = content[:length], content[length:]
        assert not content
    return bytes(disk)


def test_only_blocks_that_hold_something_are_mapped(library: ImageLibrary, tmp_path: Path) -> None:
    data = os.urandom(packing.BLOCK)
    raw = raw_disk(tmp_path / "disk", 64 * MIB, (0, data), (20 * MIB, data), (40 * MIB, bytes(MIB)))
    manifest = library.import_raw(raw, "debian-12", "Debian 12", BOOT)
    mapped = sum(length for chunk in manifest.chunks for _, length in chunk.ranges)
    assert mapped == 2 * packing.BLOCK
    assert manifest.chunks[0].ranges == [(0, packing.BLOCK), (20 * MIB, packing.BLOCK)]
    assert unpacked(library, manifest) == raw.read_bytes()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sectors=st.integers(1, 40_000),
    writes=st.lists(st.tuples(st.integers(0, 39_999), st.binary(min_size=1, max_size=3000))),
)
def test_any_disk_comes_back_as_it_was(
    tmp_path: Path, sectors: int, writes: list[tuple[int, bytes]]
) -> None:
    size = sectors * 512
    inside = [(at * 512, data) for at, data in writes if at * 512 + len(data) <= size]
    raw = raw_disk(tmp_path / "disk", size, *inside, (0, b"\xeb"))
    library = ImageLibrary(tmp_path / "library")
    assert unpacked(library, library.import_raw(raw, "any", "Any", BOOT)) == raw.read_bytes()


def test_a_large_image_is_cut_into_chunks_in_disk_order(
    library: ImageLibrary, tmp_path: Path
) -> None:
    raw = raw_disk(tmp_path / "disk", 16 * MIB, (MIB, os.urandom(10 * MIB)))
    manifest = library.import_raw(raw, "large", "Large", BOOT)
    assert len(manifest.chunks) == 3
    starts = [offset for chunk in manifest.chunks for offset, _ in chunk.ranges]
    assert starts == sorted(starts)
    assert unpacked(library, manifest) == raw.read_bytes()


def test_the_digest_is_of_the_manifest_as_it_is_served(
    library: ImageLibrary, tmp_path: Path
) -> None:
    raw = raw_disk(tmp_path / "disk", MIB, (0, b"boot"))
    manifest = library.import_raw(raw, "small", "Small", BOOT)
    text = library.manifest_json(manifest.digest)
    assert hashlib.sha256(text).hexdigest() == manifest.digest
    assert ImageManifest.from_json(text) == manifest == library.manifest(manifest.digest)
    assert json.loads(text)["boot"] == BOOT


def test_the_same_file_imported_again_is_the_same_image(
    library: ImageLibrary, tmp_path: Path
) -> None:
    raw = raw_disk(tmp_path / "disk", MIB, (0, b"boot"))
    first = library.import_raw(raw, "small", "Small", BOOT)
    assert library.import_raw(raw, "small", "Small", BOOT) == first
    assert library.list() == [first]
    assert [path.name for path in library.root.iterdir()] == [first.digest]


def test_a_damaged_chunk_is_named(library: ImageLibrary, tmp_path: Path) -> None:
    raw = raw_disk(tmp_path / "disk", 16 * MIB, (0, os.urandom(9 * MIB)))
    manifest = library.import_raw(raw, "large", "Large", BOOT)
    assert library.verify(manifest.digest) == manifest
    chunk = library.chunk_path(manifest.digest, 1)
    damaged = bytearray(chunk.read_bytes())
    damaged[100] ^= 1
    chunk.write_bytes(damaged)
    with pytest.raises(ImageCorrupt, match="chunk 1 is corrupt") as caught:
        library.verify(manifest.digest)
    assert caught.value.chunk == 1
    assert caught.value.kind is FailureKind.CONFIGURATION


@pytest.mark.parametrize("damage", ["chunks/0", "chunks", "manifest.json", "."])
def test_importing_a_damaged_image_again_mends_it(
    library: ImageLibrary, tmp_path: Path, damage: str
) -> None:
    raw = raw_disk(tmp_path / "disk", MIB, (0, b"boot"))
    manifest = library.import_raw(raw, "small", "Small", BOOT)
    damaged = library.root / manifest.digest / damage
    if damaged.is_dir():
        shutil.rmtree(damaged)
    else:
        damaged.write_bytes(b"something else")
    assert library.import_raw(raw, "small", "Small", BOOT) == manifest
    assert library.verify(manifest.digest) == manifest
    assert [path.name for path in library.root.iterdir()] == [manifest.digest]


def test_a_damaged_manifest_is_noticed(library: ImageLibrary, tmp_path: Path) -> None:
    raw = raw_disk(tmp_path / "disk", MIB, (0, b"boot"))
    digest = library.import_raw(raw, "small", "Small", BOOT).digest
    (library.root / digest / "manifest.json").write_text("{}")
    with pytest.raises(ImageCorrupt, match="manifest is corrupt"):
        library.manifest(digest)


def test_what_is_not_there_is_missing(library: ImageLibrary, tmp_path: Path) -> None:
    raw = raw_disk(tmp_path / "disk", MIB, (0, b"boot"))
    digest = library.import_raw(raw, "small", "Small", BOOT).digest
    for number in (1, -1):
        with pytest.raises(ImageMissing):
            library.chunk_path(digest, number)
    for unknown in ("0" * 64, "../../etc", ""):
        with pytest.raises(ImageMissing):
            library.manifest(unknown)
        with pytest.raises(ImageMissing):
            library.chunk_path(unknown, 0)


@pytest.mark.parametrize(("size", "content"), [(1000, b"x"), (0, b""), (MIB, b"")])
def test_a_file_that_is_no_disk_is_refused_and_leaves_nothing(
    library: ImageLibrary, tmp_path: Path, size: int, content: bytes
) -> None:
    raw = raw_disk(tmp_path / "disk", size, (0, content))
    with pytest.raises(ImageRefused):
        library.import_raw(raw, "none", "None", BOOT)
    assert library.list() == []
    assert not library.root.exists() or not list(library.root.iterdir())


def test_a_failed_import_leaves_nothing_behind(
    library: ImageLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing.os, "fsync", full)
    raw = raw_disk(tmp_path / "disk", MIB, (0, b"boot"))
    with pytest.raises(OSError, match="No space left"):
        library.import_raw(raw, "small", "Small", BOOT)
    assert list(library.root.iterdir()) == []
