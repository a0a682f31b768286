"""Shared memory in which the reader marks the call it is in; it outlives the reader.

`agent.watch` decides what that means.
"""

from __future__ import annotations

import mmap

GPU_MARK, HARDWARE_MARK = 0, 1
_MARK_SIZE = 128
MARKS_SIZE = 2 * _MARK_SIZE


class Marks:
    """Memory shared by the reader and the agent: for each loop, a counter and its current call.

    A counter that stands still during a call means that the call hangs.
    """

    def __init__(self, file: int) -> None:
        self._memory = mmap.mmap(file, MARKS_SIZE)
        self._counts = [0, 0]

    def set(self, loop: int, call: str) -> None:
        """Mark the next call; an empty name means none."""
        self._counts[loop] += 1
        name = call.encode()[: _MARK_SIZE - 8].ljust(_MARK_SIZE - 8, b"\0")
        start = loop * _MARK_SIZE
        count = self._counts[loop].to_bytes(8, "little")
        self._memory[start : start + _MARK_SIZE] = count + name

    def get(self, loop: int) -> tuple[bytes, str]:
        """Return bytes that change with each call, and the call's name."""
        mark = self._memory[loop * _MARK_SIZE : (loop + 1) * _MARK_SIZE]
        return mark, mark[8:].rstrip(b"\0").decode(errors="replace")
