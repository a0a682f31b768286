"""Reads the files that are named on the command line: bounded, whatever they turn out to be."""

import json
from pathlib import Path
from typing import Any

LARGEST = 1 << 20
"""Bytes. A rack's inventory has some ten thousand; parsing YAML takes seconds per megabyte."""


class FileTooLarge(ValueError):
    """A file, or a device or pipe in its place, has more than it may have."""


def read_bytes(file: Path) -> bytes:
    """Raises OSError, FileTooLarge."""
    with file.open("rb") as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise FileTooLarge(f"it has more than {LARGEST} bytes")
    return content


def read_text(file: Path) -> str:
    """Raises OSError, FileTooLarge, UnicodeDecodeError."""
    return read_bytes(file).decode()


def read_json(file: Path) -> Any:
    """Raises OSError, ValueError; also when a name is given twice in an object."""
    try:
        return json.loads(read_text(file), object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return made
