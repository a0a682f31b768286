"""The manifest of an image: which bytes of the disk are in which chunk, each with its SHA-256.

Its own SHA-256, over canonical JSON, is the image's digest: who knows the digest can check
everything. Format 1, described in docs/decisions/images.md.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, NotRequired, TypedDict

from provisioner.drivers.images.errors import ImageRefused

FORMAT = 1


class BootFacts(TypedDict):
    """How to start the system without firmware. Paths are inside the root partition."""

    partition: int
    """Number of the root partition."""
    kernel: str
    cmdline: str
    """File that holds the kernel's command line."""
    initrd: NotRequired[str]
    user: str
    """Who the customer logs in as."""
    cloud_init: NotRequired[bool]
    """Whether it has cloud-init, which honours more than scripts as user data."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One independent zstd frame; its content fills `ranges` in order."""

    sha256: str
    """Of the compressed bytes: checked before anything is decompressed."""
    bytes: int
    """Compressed size."""
    ranges: list[tuple[int, int]]
    """(offset, length) on the disk, in bytes."""


@dataclass(frozen=True, slots=True)
class ImageManifest:
    name: str
    title: str
    size_bytes: int
    """Of the raw disk; the target must be at least as large."""
    boot: BootFacts
    chunks: list[Chunk]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        """Canonical: sorted keys, no spaces, ASCII."""
        document = {"format": FORMAT, **asdict(self)}
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "ImageManifest":
        """Of a text whose digest was checked. Raises ImageRefused on another format."""
        document: dict[str, Any] = json.loads(text)
        if document.pop("format", None) != FORMAT:
            raise ImageRefused(
                "the image was made by another version of Ironlease",
                next_action="import the image again",
            )
        chunks = [
            Chunk(c["sha256"], c["bytes"], [(o, n) for o, n in c["ranges"]])
            for c in document.pop("chunks")
        ]
        return cls(chunks=chunks, **document)
