"""Which user data an installed system honours; what it would drop is refused beforehand."""

LIMIT = 64 * 1024
"""Bytes in UTF-8."""

_SCRIPT = "#!"
_CLOUD_INIT = (
    "#cloud-config",
    "#cloud-boothook",
    "#include",
    "#part-handler",
    "## template:",
    "Content-Type: multipart",
    "MIME-Version:",
)
"""How the formats of cloud-init begin, which includes `#cloud-config-archive`."""


def fault(text: str, image: str, *, cloud_init: bool) -> str:
    """Return why a system of `image` would not honour user data; empty if it does.

    `cloud_init` says whether the image has cloud-init. Every image runs scripts.
    """
    size = len(text.encode())
    if size > LIMIT:
        return f"user data may have at most {LIMIT} bytes; this has {size}"
    if not text.strip() or text.startswith(_SCRIPT):
        return ""
    if not text.startswith(_CLOUD_INIT):
        formats = "a script that begins with #!"
        if cloud_init:
            formats += ", or a format of cloud-init such as #cloud-config"
        return f"it would be ignored: user data for {image} must be {formats}"
    if not cloud_init:
        return (
            f"it would be ignored: {image} has no cloud-init; send a script that begins with #!,"
            " or choose an image with cloud-init"
        )
    return ""
