"""How long to wait before asking the provisioner again."""

from __future__ import annotations

import os

_FIRST_S = 1.0
LONGEST_S = 60.0
_JITTER = 0.1


def pause_s(failures: int) -> float:
    """After so many failures in a row: 1, 2, 4 … 60 s, for ever."""
    return jittered(min(LONGEST_S, _FIRST_S * 2 ** min(failures - 1, 6)))


def jittered(seconds: float) -> float:
    """Within ±10 %, so that the agents of a rack that started together spread out."""
    fraction = int.from_bytes(os.urandom(2), "big") / 0xFFFF
    return seconds * (1 - _JITTER + 2 * _JITTER * fraction)


def nonce() -> str:
    """For one request, so that its answer is known from a recorded one."""
    return os.urandom(16).hex()
