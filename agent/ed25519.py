"""Verifies Ed25519 signatures (RFC 8032, section 5.1.7) with the standard library alone.

It handles only public values, so nothing needs to run in constant time. The provisioner signs.
"""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_1 = pow(2, (_P - 1) // 4, _P)
_SIZE = 32


class _Point(NamedTuple):
    """Extended coordinates: x = X/Z, y = Y/Z, T = XY/Z."""

    x: int
    y: int
    z: int
    t: int


_NEUTRAL = _Point(0, 1, 1, 0)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether `signature` is valid; malformed input is not."""
    if len(public_key) != _SIZE or len(signature) != 2 * _SIZE:
        return False
    key, commitment = _decoded(public_key), _decoded(signature[:_SIZE])
    scalar = int.from_bytes(signature[_SIZE:], "little")
    # S ≥ L would be a second valid signature of the same message.
    if key is None or commitment is None or scalar >= _L:
        return False
    digest = hashlib.sha512(signature[:_SIZE] + public_key + message).digest()
    challenge = int.from_bytes(digest, "little") % _L
    return _same(_sum_of_products(scalar, _base(), challenge, _negative(key)), commitment)


@functools.lru_cache(maxsize=8)
def _decoded(text: bytes) -> _Point | None:
    """Decode a point; None if it is not on the curve or not in canonical form."""
    number = int.from_bytes(text, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * v**3 * pow(u * v**7 % _P, (_P - 5) // 8, _P) % _P
    if v * x * x % _P == -u % _P:
        x = x * _ROOT_OF_MINUS_1 % _P
    if v * x * x % _P != u or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return _Point(x, y, 1, x * y % _P)


@functools.lru_cache(maxsize=1)
def _base() -> _Point:
    point = _decoded((4 * pow(5, -1, _P) % _P).to_bytes(_SIZE, "little"))
    if point is None:
        raise ArithmeticError("the curve's base point does not decode")
    return point


def _sum_of_products(a: int, p: _Point, b: int, q: _Point) -> _Point:
    """Return [a]P + [b]Q, two bits of both at a time: a verification takes a few milliseconds."""
    multiples_of_p, multiples_of_q = ([_NEUTRAL, x, _added(x, x)] for x in (p, q))
    multiples_of_p.append(_added(multiples_of_p[2], p))
    multiples_of_q.append(_added(multiples_of_q[2], q))
    sums = [[_added(of_p, of_q) for of_q in multiples_of_q] for of_p in multiples_of_p]
    result = _NEUTRAL
    for shift in range(254, -1, -2):
        result = _doubled(_doubled(result))
        row, column = a >> shift & 3, b >> shift & 3
        if row or column:
            result = _added(result, sums[row][column])
    return result


def _added(p: _Point, q: _Point) -> _Point:
    a = (p.y - p.x) * (q.y - q.x) % _P
    b = (p.y + p.x) * (q.y + q.x) % _P
    c = 2 * p.t * q.t * _D % _P
    d = 2 * p.z * q.z % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return _Point(e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _doubled(p: _Point) -> _Point:
    a, b = p.x * p.x % _P, p.y * p.y % _P
    h = a + b
    e = h - (p.x + p.y) ** 2
    g = a - b
    f = 2 * p.z * p.z + g
    return _Point(e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _negative(p: _Point) -> _Point:
    return _Point(-p.x, p.y, p.z, -p.t)


def _same(p: _Point, q: _Point) -> bool:
    return (p.x * q.z - q.x * p.z) % _P == 0 and (p.y * q.z - q.y * p.z) % _P == 0
