"""`python -m lab images`: builds the images, or prints where they already are."""

import time

from . import ramdisk, tenant


def build(rebuild: bool) -> None:
    """Build what is missing, or everything. Raises `lab.images.debian.BuildError`."""
    for name, make in (("deploy ramdisk", ramdisk), ("tenant image debian-12", tenant)):
        started = time.monotonic()
        print(f"{name} ...", flush=True)
        path = make(rebuild=rebuild)
        print(f"{name}: {path} ({time.monotonic() - started:.0f} s)", flush=True)
