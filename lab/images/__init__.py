"""The images of the virtual rack, built from Debian's packages when missing and cached by the hash
of what defines them: the deploy ramdisk and the tenant image. Booting them is left to the rack.
"""

from functools import partial
from pathlib import Path

from . import build_ramdisk, build_tenant, cache


def ramdisk(*, full_kernel: bool = False, rebuild: bool = False) -> Path:
    """The folder with the deploy ramdisk's `vmlinuz` and `ramdisk.img`.

    `full_kernel`: with drivers for AHCI, e1000 and the in-band path to the BMC, and 2 s slower.
    """
    flavour = build_ramdisk.FULL if full_kernel else build_ramdisk.CLOUD
    build = partial(build_ramdisk.build, flavour=flavour)
    return cache.fetch(f"ramdisk-{flavour}", build_ramdisk.SOURCES, build, rebuild=rebuild)


def tenant(*, rebuild: bool = False) -> Path:
    """The folder with the tenant image's `disk.raw` and `image.json`."""
    name = f"tenant-{build_tenant.NAME}"
    return cache.fetch(name, build_tenant.SOURCES, build_tenant.build, rebuild=rebuild)
