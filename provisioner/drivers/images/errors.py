"""What can be wrong with an image: always a matter of settings, never of the server."""

from provisioner.domain.failures import Failure, FailureKind


class ImageRefused(Failure):
    """A file that cannot become an image."""

    code = "image_refused"
    kind = FailureKind.CONFIGURATION


class ImageMissing(Failure):
    code = "image_missing"
    kind = FailureKind.CONFIGURATION

    def __init__(self, digest: str, what: str) -> None:
        super().__init__(
            f"image {digest[:12]} has no {what} in the library",
            next_action="import the image again, or choose another",
        )


class ImageCorrupt(Failure):
    """A file of the library is not what was imported. `chunk` is None for the manifest."""

    code = "image_corrupt"
    kind = FailureKind.CONFIGURATION

    def __init__(self, digest: str, chunk: int | None) -> None:
        self.chunk = chunk
        part = "the manifest" if chunk is None else f"chunk {chunk}"
        super().__init__(
            f"image {digest[:12]}: {part} is corrupt",
            next_action="import the image again; check the disk that the library lies on",
        )
