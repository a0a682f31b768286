"""Passwords: hashed with argon2id, checked in constant time whether the account exists or not."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 12
LONGEST = 256

_HASHER = PasswordHasher()
_NOBODY = _HASHER.hash("an account that does not exist")
_AT_ONCE = asyncio.Semaphore(2)
"""Each hash takes 64 MiB and a core: logins queue instead of overloading the machine."""


async def hash_password(password: str) -> str:
    async with _AT_ONCE:
        return await asyncio.to_thread(_HASHER.hash, password)


async def matches(stored: str, password: str) -> bool:
    """Return whether `password` matches the hash; an empty hash takes as long and never matches."""
    async with _AT_ONCE:
        return await asyncio.to_thread(_matches, stored or _NOBODY, password) and bool(stored)


def _matches(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
