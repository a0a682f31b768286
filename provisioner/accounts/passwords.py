"""Passwords: hashed with argon2id, checked in constant time whether the account exists or not."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 12
LONGEST = 256

_T = TypeVar("_T")
_HASHER = PasswordHasher()
_NOBODY = _HASHER.hash("an account that does not exist")
_AT_ONCE = 2
"""Each hash takes 64 MiB and a core."""
_MOST_WAITING = 32
"""With more, the last one would wait for seconds, and others come meanwhile."""


class PasswordsBusy(Exception):
    """Too many passwords wait to be hashed."""


class _Hashing:
    """Threads of their own, so that nothing else waits for hashes, and a bounded queue."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")
        self._open = 0

    async def run(self, work: Callable[..., _T], *arguments: str) -> _T:
        """Raises PasswordsBusy."""
        if self._open >= _AT_ONCE + _MOST_WAITING:
            raise PasswordsBusy("too many passwords are being checked")
        self._open += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._open -= 1


_HASHING = _Hashing()


async def hash_password(password: str) -> str:
    """Raises PasswordsBusy."""
    return await _HASHING.run(_HASHER.hash, password)


async def matches(stored: str, password: str) -> bool:
    """Return whether `password` matches the hash; an empty hash takes as long and never matches.

    Raises PasswordsBusy.
    """
    return await _HASHING.run(_matches, stored or _NOBODY, password) and bool(stored)


def _matches(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
