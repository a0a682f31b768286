"""Which method erases a disk: strongest that the disk supports, never below the class's floor.

Terms are NIST SP 800-88 r2's (purge, clear), techniques IEEE 2883's. The choice is made here on
the capabilities that inspection found; the wipe playbook carries it out and may not change it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Sanitisation level of NIST SP 800-88 r2; purge is the stronger."""

    CLEAR = "clear"
    PURGE = "purge"

    def satisfies(self, floor: "Level") -> bool:
        return self is Level.PURGE or floor is Level.CLEAR


class Method(StrEnum):
    """Erase methods by name, as the wipe playbook takes them."""

    NVME_SANITIZE_CRYPTO = "nvme_sanitize_crypto"
    NVME_SANITIZE_BLOCK = "nvme_sanitize_block"
    NVME_FORMAT_CRYPTO = "nvme_format_crypto"
    NVME_FORMAT_USER_DATA = "nvme_format_user_data"
    DISCARD_AND_OVERWRITE = "discard_and_overwrite"
    OVERWRITE = "overwrite"


LEVELS: dict[Method, Level] = {
    # Strongest first: this order is the preference.
    Method.NVME_SANITIZE_CRYPTO: Level.PURGE,
    Method.NVME_SANITIZE_BLOCK: Level.PURGE,
    Method.NVME_FORMAT_CRYPTO: Level.PURGE,
    Method.NVME_FORMAT_USER_DATA: Level.CLEAR,
    Method.DISCARD_AND_OVERWRITE: Level.CLEAR,
    Method.OVERWRITE: Level.CLEAR,
}


@dataclass(frozen=True, slots=True)
class EraseCapabilities:
    """What the disk itself reports (NVMe Identify Controller: SANICAP, OACS bit 1, FNA bit 2)."""

    sanitize_crypto: bool = False
    sanitize_block: bool = False
    format_user_data: bool = False
    format_crypto: bool = False
    discard: bool = False


def methods(disk: EraseCapabilities, floor: Level) -> Sequence[Method]:
    """The methods to try on a disk, in order; empty when none reaches the floor.

    A later one is tried only when the one before is *refused by the disk*; each attempt is
    recorded, and every one satisfies the floor, so there is no silent fallback.
    """
    supported = {
        Method.NVME_SANITIZE_CRYPTO: disk.sanitize_crypto,
        Method.NVME_SANITIZE_BLOCK: disk.sanitize_block,
        Method.NVME_FORMAT_CRYPTO: disk.format_crypto,
        Method.NVME_FORMAT_USER_DATA: disk.format_user_data,
        Method.DISCARD_AND_OVERWRITE: disk.discard,
        Method.OVERWRITE: True,
    }
    return [m for m, level in LEVELS.items() if supported[m] and level.satisfies(floor)]
