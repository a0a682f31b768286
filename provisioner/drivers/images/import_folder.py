"""The one folder that images are imported from: an operator's word opens no other file."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

_STEP = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotInFolder(Exception):
    """There is no such regular file in the import folder."""


@contextmanager
def opened(folder: Path, name: str) -> Iterator[BinaryIO]:
    """A regular file of the folder, by its path there or its absolute path.

    Every step is opened from the one before and follows no link, so nothing can be put in its place
    between a check and the reading. Raises NotInFolder.
    """
    try:
        descriptor = _open(folder, _steps(folder, name))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NotInFolder(f"{name!r} is no regular file in {folder}: {reason}") from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield file


def _steps(folder: Path, name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    if path.is_absolute():
        if not path.is_relative_to(folder):
            raise ValueError("the path leads elsewhere")
        path = path.relative_to(folder)
    if not path.parts or ".." in path.parts:
        raise ValueError("the path leads elsewhere")
    return path.parts


def _open(folder: Path, steps: tuple[str, ...]) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for number, step in enumerate(steps, 1):
        kind = os.O_NONBLOCK if number == len(steps) else os.O_DIRECTORY
        try:
            inner = os.open(step, _STEP | kind, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("it is not a file")
    return descriptor
