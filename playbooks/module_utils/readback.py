"""Proof that a disk was sanitised: markers written before, places read back raw afterwards.

No exit code counts. A disk passes when no marker is left and every sampled place is zero (after
methods that write zeroes) or differs from what it held before (after methods that leave
unspecified content).
"""

from __future__ import annotations

import random

from module_utils.channel import ServerFault
from module_utils.disks import RawDisk

MARKERS = 64
MARKER_BYTES = 4096
SAMPLES = 1024
SAMPLE_BYTES = 65536
COMPARED_BYTES = 4096
SECTOR = 512


class ReadBack:
    """The markers and sampled places of one disk, drawn from one recorded seed."""

    def __init__(self, raw: RawDisk, seed: str) -> None:
        self.raw = raw
        draw = random.Random(seed)
        size, block = raw.disk.size_bytes, raw.disk.block_size
        blocks = size // block
        ends = {0, blocks // 2, blocks - MARKER_BYTES // block or 0}
        chosen = ends | {draw.randrange(blocks - 1) for _ in range(MARKERS)}
        self.markers = {at * block: draw.randbytes(MARKER_BYTES) for at in sorted(chosen)}
        self.samples = _sample_places(draw, size, block)
        self.before: dict[int, bytes] = {}

    def mark(self) -> None:
        """Remember the sampled places, write the markers, and check that they are there."""
        for offset, length in self.samples:
            self.before[offset] = bytes(self.raw.read(offset, min(length, COMPARED_BYTES)))
        for offset, marker in self.markers.items():
            self.raw.write(offset, marker)
        self.raw.flush()
        lost = [at for at, marker in self.markers.items() if self._content(at) != marker]
        if lost:
            raise ServerFault(
                f"disk {self.raw.disk.serial} does not return what was written to it "
                f"(at byte {lost[0]}), so sanitising it cannot be proven",
                "replace the disk, or destroy it physically",
            )

    def check(self, *, must_be_zero: bool) -> str:
        """Describe what is left; empty when the disk is proven clean."""
        left = [at for at, marker in self.markers.items() if _shares(marker, self._content(at))]
        if left:
            return f"{len(left)} of {len(self.markers)} markers are still there (byte {left[0]})"
        for offset, length in self.samples:
            view = self.raw.read(offset, length)
            if _is_zero(view):
                continue
            if must_be_zero:
                return f"the place at byte {offset} is not zero"
            before = self.before[offset]
            if before.count(before[0]) != len(before) and view[: len(before)] == before:
                return f"the place at byte {offset} still holds what it held before"
        return ""

    def _content(self, offset: int) -> bytes:
        return bytes(self.raw.read(offset, MARKER_BYTES))

    def evidence(self) -> dict[str, int]:
        lengths = [length for _, length in self.samples]
        return {
            "marker_count": len(self.markers),
            "sample_count": len(lengths),
            "sampled_bytes": sum(lengths),
        }


def _sample_places(draw: random.Random, size: int, block: int) -> list[tuple[int, int]]:
    """(offset, length): one place in each of equal sections, and the end of the disk."""
    sections = max(1, min(SAMPLES, size // SAMPLE_BYTES))
    section = size // sections // block * block
    length = min(SAMPLE_BYTES, section)
    spread = (section - length) // block
    places = [(n * section + draw.randint(0, spread) * block, length) for n in range(sections)]
    rest = sections * section
    if rest < size:
        places.append((max(rest, size - SAMPLE_BYTES), size - max(rest, size - SAMPLE_BYTES)))
    return places


def _shares(marker: bytes, found: bytes) -> bool:
    """Is one whole sector of the marker still in its place?"""
    return any(
        marker[at : at + SECTOR] == found[at : at + SECTOR] for at in range(0, len(marker), SECTOR)
    )


_ZERO = memoryview(bytes(SAMPLE_BYTES)).cast("Q")


def _is_zero(view: memoryview) -> bool:
    # Eight bytes at a time: the interpreter compares element by element.
    return view.cast("Q") == _ZERO[: len(view) // 8]
