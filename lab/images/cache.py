"""The cache of built images: one folder per image and hash of its sources.

A folder is published whole or not at all. Builders decide what an image contains.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT = 2
_CACHES = {"__pycache__", ".ruff_cache", ".mypy_cache"}
"""Left by tools beside the sources; not part of what defines an image."""


def folder() -> Path:
    """Return where built images are kept: `IRONLEASE_CACHE`, else /var/cache/ironlease."""
    return Path(os.environ.get("IRONLEASE_CACHE", "/var/cache/ironlease"))


def digest(sources: Iterable[Path]) -> str:
    """Return the hash of all files in `sources` and their folders: names, modes, contents."""
    state = hashlib.sha256()
    for source in sources:
        files = sorted(source.rglob("*")) if source.is_dir() else [source]
        for file in files:
            if not file.is_file() or _CACHES & set(file.parts):
                continue
            name = file.relative_to(source.parent)
            content = file.read_bytes()
            state.update(f"{name}\0{os.access(file, os.X_OK)}\0{len(content)}\0".encode())
            state.update(content)
    return state.hexdigest()[:16]


def fetch(
    name: str, sources: Iterable[Path], build: Callable[[Path], None], *, rebuild: bool = False
) -> Path:
    """Return the folder of image `name` for its current sources, building it if missing.

    Two callers at once build it once; an interrupted build leaves nothing that could be taken for
    an image.
    """
    path = folder() / f"{name}-{digest(sources)}"
    if path.is_dir() and not rebuild:
        path.touch()  # prune() keeps the most recently used
        return path
    folder().mkdir(parents=True, exist_ok=True)
    with _lock(name):
        if path.is_dir() and not rebuild:
            return path
        _remove_unfinished(name)
        # apt's user must be able to enter mmdebstrap's root, hence no private folder.
        work = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder()))
        work.chmod(0o755)
        try:
            result = work / "image"
            result.mkdir()
            build(result)
            if path.is_dir():
                path.rename(work / "old")
            result.rename(path)
        finally:
            shutil.rmtree(work)
        _prune(name)
    return path


@contextmanager
def _lock(name: str) -> Iterator[None]:
    with (folder() / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_unfinished(name: str) -> None:
    for left in folder().glob(f".{name}.*/"):
        shutil.rmtree(left)


def _prune(name: str) -> None:
    found = [path for path in folder().glob(f"{name}-*") if path.is_dir()]
    for old in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(old)
