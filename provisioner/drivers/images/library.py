"""The images of one site, as files: `<digest>/manifest.json` and `<digest>/chunks/<n>`.

An image is complete or absent: it is made in a temporary folder and renamed. Blocking; the caller
puts it on a thread.
"""

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from provisioner.drivers.images.errors import ImageCorrupt, ImageMissing, ImageRefused
from provisioner.drivers.images.manifest import BootFacts, ImageManifest
from provisioner.drivers.images.packing import pack

SECTOR = 512
UNFINISHED = ".import-"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ImageLibrary:
    def __init__(self, root: Path) -> None:
        self.root = root

    def import_raw(self, disk_raw: Path, name: str, title: str, boot: BootFacts) -> ImageManifest:
        """Take a raw disk file in, as `import_file` does."""
        with disk_raw.open("rb", buffering=0) as file:
            return self.import_file(file, name, title, boot)

    def import_file(
        self, disk_raw: BinaryIO, name: str, title: str, boot: BootFacts
    ) -> ImageManifest:
        """Take a raw disk in; the same one again is the same image, and mends a damaged one.

        Raises ImageRefused, and OSError when the library's disk is full.
        """
        size = os.fstat(disk_raw.fileno()).st_size
        if not size or size % SECTOR:
            raise ImageRefused(
                f"the file has {size} bytes: no whole number of {SECTOR}-byte sectors",
                next_action="import a raw disk image (qemu-img convert -O raw)",
            )
        self.root.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.root))
        try:
            (unfinished / "chunks").mkdir()
            chunks = list(pack(disk_raw, unfinished / "chunks"))
            if not chunks:
                raise ImageRefused(
                    "the file holds nothing but zeroes",
                    next_action="import a raw disk image with a system on it",
                )
            manifest = ImageManifest(name, title, size, boot, chunks)
            _write_synced(unfinished / "manifest.json", manifest.to_json())
            if not self._is_whole(manifest.digest):
                unfinished.chmod(0o755)
                self._put_in_place(unfinished, manifest.digest)
            return manifest
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _is_whole(self, digest: str) -> bool:
        try:
            self.verify(digest)
        except (ImageMissing, ImageCorrupt):
            return False
        return True

    def _put_in_place(self, made: Path, digest: str) -> None:
        final = self.root / digest
        if final.exists():
            # Damaged: for a moment there is none, which readers are told as they would be anyway.
            damaged = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.root))
            final.rename(damaged / digest)
            made.rename(final)
            shutil.rmtree(damaged)
        else:
            made.rename(final)
        _sync_folder(self.root)

    def list(self) -> list[ImageManifest]:
        """Every image, by name."""
        if not self.root.exists():
            return []
        digests = [p.name for p in self.root.iterdir() if _DIGEST.fullmatch(p.name)]
        return sorted((self.manifest(d) for d in digests), key=lambda m: (m.name, m.digest))

    def manifest(self, digest: str) -> ImageManifest:
        """Raises ImageMissing, ImageCorrupt."""
        return ImageManifest.from_json(self.manifest_json(digest))

    def manifest_json(self, digest: str) -> bytes:
        """The very bytes that the digest is of, checked. Raises ImageMissing, ImageCorrupt."""
        try:
            text = (self._folder(digest) / "manifest.json").read_bytes()
        except FileNotFoundError:
            raise ImageMissing(digest, "manifest") from None
        if hashlib.sha256(text).hexdigest() != digest:
            raise ImageCorrupt(digest, None)
        return text

    def chunk_path(self, digest: str, number: int) -> Path:
        """For serving: whoever fetches it checks its SHA-256. Raises ImageMissing."""
        path = self._folder(digest) / "chunks" / str(number)
        if number < 0 or not path.exists():
            raise ImageMissing(digest, f"chunk {number}")
        return path

    def verify(self, digest: str) -> ImageManifest:
        """Read every chunk. Raises ImageMissing, or ImageCorrupt which names the chunk."""
        manifest = self.manifest(digest)
        for number, chunk in enumerate(manifest.chunks):
            with self.chunk_path(digest, number).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != chunk.sha256:
                    raise ImageCorrupt(digest, number)
        return manifest

    def _folder(self, digest: str) -> Path:
        # A digest may come out of a URL: it must not lead elsewhere.
        if not _DIGEST.fullmatch(digest):
            raise ImageMissing(digest, "manifest")
        return self.root / digest


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
