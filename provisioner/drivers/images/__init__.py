"""Images of operating systems: imported once, verified, served in chunks."""

from provisioner.drivers.images.errors import ImageCorrupt, ImageMissing, ImageRefused
from provisioner.drivers.images.library import ImageLibrary
from provisioner.drivers.images.manifest import BootFacts, Chunk, ImageManifest

__all__ = [
    "BootFacts",
    "Chunk",
    "ImageCorrupt",
    "ImageLibrary",
    "ImageManifest",
    "ImageMissing",
    "ImageRefused",
]
