"""Images of operating systems: imported once, verified, served in chunks."""

from provisioner.drivers.images.errors import ImageCorrupt, ImageMissing, ImageRefused
from provisioner.drivers.images.import_folder import NotInFolder, opened
from provisioner.drivers.images.library import ImageLibrary
from provisioner.drivers.images.manifest import BootFacts, Chunk, ImageManifest
from provisioner.drivers.images.raw_disk import check_raw_disk

__all__ = [
    "BootFacts",
    "Chunk",
    "ImageCorrupt",
    "ImageLibrary",
    "ImageManifest",
    "ImageMissing",
    "ImageRefused",
    "NotInFolder",
    "check_raw_disk",
    "opened",
]
