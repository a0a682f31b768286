"""The backup partition table belongs at the end of the disk, wherever the image's own disk ended.

The table itself is left to util-linux's `sfdisk`, which the deploy ramdisk has.
"""

from __future__ import annotations

import json
import subprocess

from module_utils.channel import Configuration, ServerFault
from module_utils.disks import RawDisk

SIGNATURE = b"EFI PART"
SECTOR = 512  # of images; UEFI Specification 2.10, section 5.3.2: the header is in the second one
BLOCK = 4096


def move_backup_to_end(raw: RawDisk, image_bytes: int) -> None:
    """Fit the image's GPT to the disk, which is held open; an image without one stays as it is.

    Raises Configuration where the disk's sectors are not those of the image.
    """
    has_table = raw.read(0, BLOCK)[SECTOR:].tobytes().startswith(SIGNATURE)
    if not has_table or raw.disk.size_bytes == image_bytes:
        return
    table = json.loads(_sfdisk(raw, "--json"))["partitiontable"]
    if table["label"] != "gpt":
        raise Configuration(
            f"disk {raw.disk.serial} ({raw.disk.name}) does not take the image's partition table, "
            f"which counts in sectors of {SECTOR} bytes",
            "choose a disk with such sectors",
        )
    # The image's own backup would stay in the middle of the disk, where tools might find it;
    # sfdisk makes a new one from the primary.
    own_backup = (table["lastlba"] + 1) * SECTOR
    raw.zero(own_backup, image_bytes - own_backup)
    raw.flush()
    # The kernel is told by whoever holds the disk: it would refuse anybody else.
    _sfdisk(raw, "--no-reread", "--no-tell-kernel", "--relocate", "gpt-bak-std")


def _sfdisk(raw: RawDisk, *options: str) -> str:
    done = subprocess.run(
        ["sfdisk", *options, raw.disk.path], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise ServerFault(
            f"disk {raw.disk.serial} ({raw.disk.name}): its partition table cannot be moved: "
            f"{done.stderr.strip()}",
            "look at the disk from the server's console, or replace it",
        )
    return done.stdout
