"""Finds out once per boot of this machine whether KVM really works here.

Opening /dev/kvm is no proof: on some nested hosts it opens and the guest then stalls. Only a kernel
that ran until it missed its root file system counts.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab.rack.plan import DATA_ROOT

PROBE_SECONDS = 8
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_REACHED_ROOT = b"Unable to mount root fs"


def acceleration() -> str:
    """Return `kvm` if it was seen to work, else `tcg`; IRONLEASE_LAB_ACCELERATION overrides it."""
    if chosen := os.environ.get("IRONLEASE_LAB_ACCELERATION"):
        return chosen
    kernel = _kernel()
    if kernel is None or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    answers = DATA_ROOT / "acceleration"
    boot = _BOOT_ID.read_text().strip()
    if answers.exists():
        known_boot, _, answer = answers.read_text().partition(" ")
        if known_boot == boot:
            return answer
    answer = "kvm" if _kvm_boots(kernel) else "tcg"
    answers.parent.mkdir(parents=True, exist_ok=True)
    answers.write_text(f"{boot} {answer}")
    return answer


def _kernel() -> Path | None:
    """Return a Linux kernel to try: the deploy ramdisk's once it is built, or this machine's."""
    cache = Path(os.environ.get("IRONLEASE_CACHE", "/var/cache/ironlease"))
    kernels = [*cache.glob("ramdisk-*/vmlinuz"), *Path("/boot").glob("vmlinuz-*")]
    return kernels[0] if kernels else None


def _kvm_boots(kernel: Path) -> bool:
    command = [
        *("qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-machine", "q35"),
        *("-m", "256", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"),
    ]
    try:
        probe = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return _REACHED_ROOT in probe.stdout
