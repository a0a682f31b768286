"""How the reader says which call it is in, in memory that outlives it. Judging it is left to
`agent.watch`.
"""

from __future__ import annotations

import mmap

GPU_MARK, HARDWARE_MARK = 0, 1
_MARK_SIZE = 128
MARKS_SIZE = 2 * _MARK_SIZE


class Marks:
    """Memory that the reader shares with the agent: for each of its loops a counter and the call
    that it is in. A counter that stands still in a call is a call that hangs."""

    def __init__(self, file: int) -> None:
        self._memory = mmap.mmap(file, MARKS_SIZE)
        self._counts = [0, 0]

    def set(self, loop: int, call: str) -> None:
        """Say which call comes next; an empty one is none."""
        self._counts[loop] += 1
        name = call.encode()[: _MARK_SIZE - 8].ljust(_MARK_SIZE - 8, b"\0")
        start = loop * _MARK_SIZE
        count = self._counts[loop].to_bytes(8, "little")
        self._memory[start : start + _MARK_SIZE] = count + name

    def get(self, loop: int) -> tuple[bytes, str]:
        """Something that changes with each call, and the call's name."""
        mark = self._memory[loop * _MARK_SIZE : (loop + 1) * _MARK_SIZE]
        return mark, mark[8:].rstrip(b"\0").decode(errors="replace")
