"""Builds the tenant image debian-12: a bootable disk for GRUB on BIOS and for kexec.

The provisioner's plays make it one customer's server (keys, host key, agent's grant).
"""

import json
import shutil
from pathlib import Path

from agent.build import write_zipapp

from . import disk
from .debian import make_root, package_names

HERE = Path(__file__).parent
PARTS = HERE / "tenant"
NAME = "debian-12"
SOURCES = [
    Path(__file__),
    HERE / "debian.py",
    HERE / "disk.py",
    PARTS,
    HERE.parents[1] / "agent",
]
CMDLINE = (
    f"root=PARTUUID={disk.ROOT_PARTUUID} rootfstype=ext4 rw console=ttyS0 quiet net.ifnames=0"
    " cryptomgr.notests"
)


def build(result: Path) -> None:
    """Write `disk.raw` and `image.json` into the folder `result`. Raises `BuildError`."""
    root = result.parent / "root"
    files = result.parent / "files"
    shutil.copytree(PARTS / "files", files)
    write_zipapp(files / "usr/lib/ironlease/agent.pyz")
    make_root(
        root,
        package_names(PARTS / "packages"),
        variant="minbase",
        files=files,
        hook=PARTS / "customise",
        environment={},
    )
    (root / "boot/cmdline").write_text(CMDLINE + "\n")
    disk.write(root, result / "disk.raw", cmdline=CMDLINE)
    described = {
        "name": NAME,
        "title": "Debian 12 (bookworm)",
        "partition": disk.ROOT_PARTITION,
        "kernel": "/boot/vmlinuz",
        "cmdline": "/boot/cmdline",
        "user": "root",
    }
    (result / "image.json").write_text(json.dumps(described, indent=2) + "\n")
