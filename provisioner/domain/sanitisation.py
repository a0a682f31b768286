"""Which method erases a disk: the strongest it supports, never below the class's floor.

The terms are those of NIST SP 800-88 r2 (purge, clear), the techniques those of IEEE 2883. The
method is chosen here from the capabilities that inspection found; the playbook `sanitise` applies
it and must not change it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class SanitisationLevel(StrEnum):
    """Sanitisation level of NIST SP 800-88 r2; purge is the stronger."""

    CLEAR = "clear"
    PURGE = "purge"

    def satisfies(self, floor: "SanitisationLevel") -> bool:
        return self is SanitisationLevel.PURGE or floor is SanitisationLevel.CLEAR


class SanitisationMethod(StrEnum):
    """Erase methods by name, as the playbook `sanitise` takes them."""

    NVME_SANITIZE_CRYPTO = "nvme_sanitize_crypto"
    NVME_SANITIZE_BLOCK = "nvme_sanitize_block"
    NVME_FORMAT_CRYPTO = "nvme_format_crypto"
    NVME_FORMAT_USER_DATA = "nvme_format_user_data"
    DISCARD_AND_OVERWRITE = "discard_and_overwrite"
    OVERWRITE = "overwrite"


LEVELS: dict[SanitisationMethod, SanitisationLevel] = {
    # Strongest first: this order is the preference.
    SanitisationMethod.NVME_SANITIZE_CRYPTO: SanitisationLevel.PURGE,
    SanitisationMethod.NVME_SANITIZE_BLOCK: SanitisationLevel.PURGE,
    SanitisationMethod.NVME_FORMAT_CRYPTO: SanitisationLevel.PURGE,
    SanitisationMethod.NVME_FORMAT_USER_DATA: SanitisationLevel.CLEAR,
    SanitisationMethod.DISCARD_AND_OVERWRITE: SanitisationLevel.CLEAR,
    SanitisationMethod.OVERWRITE: SanitisationLevel.CLEAR,
}


@dataclass(frozen=True, slots=True)
class SanitiseCapabilities:
    """What the disk itself reports (NVMe Identify Controller: SANICAP, OACS bit 1, FNA bit 2)."""

    sanitize_crypto: bool = False
    sanitize_block: bool = False
    format_user_data: bool = False
    format_crypto: bool = False
    discard: bool = False


def methods(disk: SanitiseCapabilities, floor: SanitisationLevel) -> Sequence[SanitisationMethod]:
    """Return the methods to try on a disk, in order; empty if none reaches the floor.

    The next one is tried only if the disk *refuses* the one before. Each attempt is recorded and
    every method satisfies the floor, so there is no silent fallback.
    """
    supported = {
        SanitisationMethod.NVME_SANITIZE_CRYPTO: disk.sanitize_crypto,
        SanitisationMethod.NVME_SANITIZE_BLOCK: disk.sanitize_block,
        SanitisationMethod.NVME_FORMAT_CRYPTO: disk.format_crypto,
        SanitisationMethod.NVME_FORMAT_USER_DATA: disk.format_user_data,
        SanitisationMethod.DISCARD_AND_OVERWRITE: disk.discard,
        SanitisationMethod.OVERWRITE: True,
    }
    return [m for m, level in LEVELS.items() if supported[m] and level.satisfies(floor)]
