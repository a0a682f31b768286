"""Builds the deploy ramdisk: a slim Debian without systemd whose `/init` exchanges the boot token
for an identity and opens SSH. What happens in it afterwards is left to the provisioner's plays.
"""

import shutil
from pathlib import Path

from agent.build import write_zipapp

from .debian import make_root, package_names, run

HERE = Path(__file__).parent
PARTS = HERE / "ramdisk"
FLAVOUR = "cloud-amd64"  # NVMe and ext4 built in, no AHCI, no IPMI: see docs/images.md
SOURCES = [Path(__file__), HERE / "debian.py", PARTS, HERE.parents[1] / "agent"]

# file of ramdisk/ → place in the root, mode
_PLACES = {
    "init": ("init", 0o755),
    "inittab": ("etc/inittab", 0o644),
    "sshd_config": ("etc/ssh/sshd_config", 0o644),
    "dhcp-event": ("usr/lib/ironlease/dhcp-event", 0o755),
    "run-agent": ("usr/lib/ironlease/run-agent", 0o755),
}


def build(result: Path) -> None:
    """Write `vmlinuz` and `ramdisk.img` into the folder `result`; raises `BuildError`."""
    root = result.parent / "root"
    make_root(
        root,
        package_names(PARTS / "packages"),
        variant="essential",
        hook=PARTS / "customise",
        environment={
            "IRONLEASE_FLAVOUR": FLAVOUR,
            "IRONLEASE_KERNEL": str(result / "vmlinuz"),
        },
    )
    for name, (place, mode) in _PLACES.items():
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PARTS / name, target)
        target.chmod(mode)
    write_zipapp(root / "usr/lib/ironlease/agent.pyz")
    for applet in ("awk", "reboot", "poweroff", "halt", "ps", "vi", "less", "ping"):
        link = root / "usr/sbin" / applet
        if not (root / "usr/bin" / applet).exists() and not link.exists():
            link.symlink_to("/bin/busybox")
    pack(root, result / "ramdisk.img")
    shutil.rmtree(root)


def pack(root: Path, image: Path) -> None:
    """Write the folder `root` as a zstd-compressed initramfs."""
    script = 'find . | LC_ALL=C sort | cpio -o -H newc --quiet | zstd -q -T0 -12 -o "$0"'
    run(["bash", "-o", "pipefail", "-c", script, image], cwd=root)
