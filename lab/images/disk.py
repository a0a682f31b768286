"""Writes a root folder as a bootable disk: GPT, GRUB for BIOS, one ext4 root.

It needs no loop device, so it works in containers.
"""

import struct
from pathlib import Path

from .debian import run

SIZE_MIB = 1024
ROOT_PARTITION = 2
ROOT_PARTUUID = "aaaaaaaa-0000-0000-0000-000000000002"
_SECTOR = 512
_BOOT_START, _BOOT_SECTORS = 2048, 2048  # GRUB's core image
_ROOT_START = 4096
_GPT_BACKUP_MIB = 1

_BIOS_BOOT_TYPE = "21686148-6449-6E6F-744E-656564454649"
_LINUX_ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
_GRUB = Path("/usr/lib/grub/i386-pc")
_GRUB_MODULES = (
    "biosdisk",
    "part_gpt",
    "ext2",
    "linux",
    "normal",
    "serial",
    "terminal",
    "configfile",
    "boot",
)
_GRUB_EARLY = "set root=(hd0,gpt2)\nset prefix=(hd0,gpt2)/boot/grub\nconfigfile $prefix/grub.cfg\n"


def write(root: Path, image: Path, *, cmdline: str) -> None:
    """Write `root` to the sparse raw file `image`, to boot with `cmdline`. Raises `BuildError`."""
    _grub_config(root, cmdline)
    with image.open("wb") as out:
        out.truncate(SIZE_MIB << 20)
    size_kib = (SIZE_MIB - _GPT_BACKUP_MIB) * 1024 - _ROOT_START * _SECTOR // 1024
    offset = _ROOT_START * _SECTOR
    options = f"offset={offset},lazy_itable_init=1,lazy_journal_init=1"
    make = ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-m", "1", "-E", options]
    run([*make, "-d", root, image, f"{size_kib}k"])
    # After mke2fs, which wipes the start of the file.
    table = (
        "label: gpt\n"
        f"start={_BOOT_START},size={_BOOT_SECTORS},type={_BIOS_BOOT_TYPE}\n"
        f"start={_ROOT_START},name=root,uuid={ROOT_PARTUUID},type={_LINUX_ROOT_TYPE}\n"
    )
    run(["sfdisk", "--quiet", "--no-reread", image], given=table)
    _install_grub(image)


def _grub_config(root: Path, cmdline: str) -> None:
    folder = root / "boot/grub"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "grub.cfg").write_text(
        "# /boot/vmlinuz follows the newest kernel package: this file need not change with it.\n"
        "serial --unit=0 --speed=115200\n"
        "terminal_output serial\n"
        f"linux /boot/vmlinuz {cmdline}\n"
        "boot\n"
    )


def _install_grub(image: Path) -> None:
    """Do what grub-bios-setup does, without needing a device.

    The boot sector holds the first sector of the core image, whose own first sector lists the rest.
    """
    early = image.with_suffix(".cfg")
    core_file = image.with_suffix(".core")
    early.write_text(_GRUB_EARLY)
    make = ["grub-mkimage", "-O", "i386-pc", "-p", "(hd0,gpt2)/boot/grub"]
    run([*make, "-c", early, "-o", core_file, *_GRUB_MODULES])
    boot = bytearray((_GRUB / "boot.img").read_bytes())
    core = bytearray(core_file.read_bytes())
    early.unlink()
    core_file.unlink()
    core += bytes(-len(core) % _SECTOR)
    sectors = len(core) // _SECTOR
    # GRUB's pc/boot.h: kernel sector at 0x5c; the drive check at 0x66 is a jump for hard disks.
    struct.pack_into("<Q", boot, 0x5C, _BOOT_START)
    boot[0x66:0x68] = b"\x90\x90"
    # Block list at the end of the core's first sector: start, sectors, segment to load them to.
    struct.pack_into("<QHH", core, _SECTOR - 12, _BOOT_START + 1, sectors - 1, 0x820)
    if sectors > _BOOT_SECTORS:
        raise ValueError(f"GRUB's core image has {sectors} sectors; only {_BOOT_SECTORS} fit")
    with image.open("r+b") as disk:
        disk.write(boot[:440])  # the rest of the sector is the protective partition table
        disk.seek(_BOOT_START * _SECTOR)
        disk.write(core)
