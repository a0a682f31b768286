"""How long to wait before asking the provisioner again."""

from __future__ import annotations

import os

_FIRST_S = 1.0
LONGEST_S = 60.0
_JITTER = 0.1


def pause_s(failures: int) -> float:
    """Return the pause after so many failures in a row: 1, 2, 4 … 60 s."""
    return jittered(min(LONGEST_S, _FIRST_S * 2 ** min(failures - 1, 6)))


def jittered(seconds: float) -> float:
    """Vary by ±10 %, so that the agents of a rack that started together spread out."""
    fraction = int.from_bytes(os.urandom(2), "big") / 0xFFFF
    return seconds * (1 - _JITTER + 2 * _JITTER * fraction)


def nonce() -> str:
    """Return a nonce for one request, which tells its answer from a replayed one."""
    return os.urandom(16).hex()
