"""The images of the virtual rack: the deploy ramdisk and the tenant image.

They are built from Debian's packages if missing, and cached by a hash of their sources. The rack
boots them.
"""

from functools import partial
from pathlib import Path

from . import build_ramdisk, build_tenant, cache


def ramdisk(*, full_kernel: bool = False, rebuild: bool = False) -> Path:
    """Return the folder with the deploy ramdisk's `vmlinuz` and `ramdisk.img`.

    `full_kernel` adds drivers for AHCI, e1000 and the in-band path to the BMC; it boots 2 s slower.
    """
    flavour = build_ramdisk.FULL if full_kernel else build_ramdisk.CLOUD
    build = partial(build_ramdisk.build, flavour=flavour)
    return cache.fetch(f"ramdisk-{flavour}", build_ramdisk.SOURCES, build, rebuild=rebuild)


def tenant(*, rebuild: bool = False) -> Path:
    """Return the folder with the tenant image's `disk.raw` and `image.json`."""
    name = f"tenant-{build_tenant.NAME}"
    return cache.fetch(name, build_tenant.SOURCES, build_tenant.build, rebuild=rebuild)
