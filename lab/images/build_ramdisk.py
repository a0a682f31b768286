"""Builds the deploy ramdisk, a slim Debian without systemd.

Its `/init` exchanges the boot token for an identity and opens SSH. The provisioner's plays do the
rest.
"""

import shutil
import zipfile
from pathlib import Path

from agent.build import write_zipapp

from .debian import make_root, package_names, run

HERE = Path(__file__).parent
PARTS = HERE / "ramdisk"
CLOUD, FULL = "cloud-amd64", "amd64"
"""Flavours of Debian's kernel.

The first starts 2 s sooner, has NVMe and ext4 built in, and neither AHCI nor IPMI; the second
drives all hardware. See docs/images.md.
"""
SOURCES = [Path(__file__), HERE / "debian.py", PARTS, HERE.parents[1] / "agent"]

_LIBRARY = "usr/lib/ironlease"
# File of ramdisk/ → place in the root, mode.
_PLACES = {
    "init": ("init", 0o755),
    "inittab": ("etc/inittab", 0o644),
    "sshd_config": ("etc/ssh/sshd_config", 0o644),
    "dhcp-event": (f"{_LIBRARY}/dhcp-event", 0o755),
    "run-agent": (f"{_LIBRARY}/run-agent", 0o755),
    "check_in.py": (f"{_LIBRARY}/check_in.py", 0o644),
}
# Tools that Debian only has in packages too large for a ramdisk.
_APPLETS = ("awk", "halt", "hostname", "less", "ping", "poweroff", "ps", "reboot", "vi")


def build(result: Path, flavour: str = CLOUD) -> None:
    """Write `vmlinuz` and `ramdisk.img` into the folder `result`. Raises `BuildError`."""
    root = result.parent / "root"
    make_root(
        root,
        package_names(PARTS / "packages"),
        variant="essential",
        hook=PARTS / "customise",
        environment={
            "IRONLEASE_FLAVOUR": flavour,
            "IRONLEASE_KERNEL": str(result / "vmlinuz"),
        },
    )
    _add_own_files(root)
    pack(root, result / "ramdisk.img")


def _add_own_files(root: Path) -> None:
    for name, (place, mode) in _PLACES.items():
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PARTS / name, target)
        target.chmod(mode)
    zipapp = root / "agent.pyz"
    write_zipapp(zipapp)
    with zipfile.ZipFile(zipapp) as archive:
        sources = [name for name in archive.namelist() if name.endswith(".py")]
        archive.extractall(root / _LIBRARY, sources)
    zipapp.unlink()
    # By the ramdisk's own Python, whose byte code may differ from this machine's.
    compileall = ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    run(["chroot", root, *compileall, f"/{_LIBRARY}"])
    for applet in _APPLETS:
        if not any((root / "usr" / folder / applet).exists() for folder in ("bin", "sbin")):
            (root / "usr/sbin" / applet).symlink_to("/bin/busybox")


def pack(root: Path, image: Path) -> None:
    """Write the folder `root` as an initramfs, with /usr as a compressed file system inside.

    `/init` mounts it. Unpacking 130 MB takes an emulated machine 3.5 s, reading the part that is
    used 0.3 s; lz4 is a quarter larger than zstd and saves another 0.4 s.
    """
    usr = root / "usr"
    squashfs = ["-comp", "lz4", "-Xhc", "-noappend", "-quiet", "-no-progress"]
    run(["mksquashfs", usr, root / "usr.squashfs", *squashfs])
    busybox = (usr / "bin/busybox").read_bytes()
    shutil.rmtree(usr)
    for folder in ("bin", "sbin", "lib", "lib64"):
        (usr / folder).mkdir(parents=True)
    (usr / "bin/busybox").write_bytes(busybox)
    (usr / "bin/busybox").chmod(0o755)
    script = 'find . | LC_ALL=C sort | cpio -o -H newc --quiet -O "$0"'
    run(["bash", "-o", "pipefail", "-c", script, image], cwd=root)
