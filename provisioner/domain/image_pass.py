"""The pass with which a ramdisk fetches the image that it writes, and no other.

It is sealed with the provisioner's key, names an operation and an image, and is worth nothing once
the operation no longer writes that image.
"""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class ImagePass:
    operation: str
    digest: str

    def to_json(self) -> str:
        return json.dumps({"kind": "image", **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> "ImagePass":
        """Raises ValueError."""
        match json.loads(text):
            case {"kind": "image", "operation": str(operation), "digest": str(digest)}:
                return cls(operation, digest)
        raise ValueError("not a pass for an image")
