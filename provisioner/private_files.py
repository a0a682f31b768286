"""Files and folders of the daemon that nobody else on its machine may read."""

import logging
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)


def private_folder(path: Path) -> None:
    """Create a folder and what is missing above it, each with mode 0700."""
    for missing in reversed([path, *path.parents]):
        if not missing.exists():
            missing.mkdir(mode=0o700, exist_ok=True)


def write_private_once(path: Path, content: Callable[[], bytes]) -> None:
    """Have `path` with mode 0600 and, if it was not there, with this content.

    Of several processes, one writes it; it is never there in part.
    """
    if not path.exists():
        private_folder(path.parent)
        with tempfile.NamedTemporaryFile(dir=path.parent) as new:  # mode 0600
            new.write(content())
            new.flush()
            os.fsync(new.fileno())
            with suppress(FileExistsError):  # another process's, which counts
                os.link(new.name, path)
    tighten(path)


def tighten(path: Path) -> None:
    """Take the rights of others to a file away, and say so."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return
    try:
        path.chmod(0o600)
    except OSError as error:
        log.warning(
            "others can read %s (mode %04o), and that cannot be changed: %s", path, mode, error
        )
        return
    log.warning("%s had mode %04o; it is 0600 now. Others may have read it.", path, mode)
