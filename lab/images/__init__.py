"""The images of the virtual rack, built from Debian's packages when missing and cached by the hash
of what defines them: the deploy ramdisk and the tenant image. Booting them is left to the rack.
"""

from pathlib import Path

from . import build_ramdisk, build_tenant, cache


def ramdisk(*, rebuild: bool = False) -> Path:
    """The folder with the deploy ramdisk's `vmlinuz` and `ramdisk.img`."""
    return cache.fetch("ramdisk", build_ramdisk.SOURCES, build_ramdisk.build, rebuild=rebuild)


def tenant(*, rebuild: bool = False) -> Path:
    """The folder with the tenant image's `disk.raw` and `image.json`."""
    name = f"tenant-{build_tenant.NAME}"
    return cache.fetch(name, build_tenant.SOURCES, build_tenant.build, rebuild=rebuild)
