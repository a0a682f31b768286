"""Preloaded by the fork server: one loop is played here, so that no child compiles its queries."""

from pathlib import Path
from tempfile import TemporaryDirectory

from crashing import prepare

with TemporaryDirectory() as folder:
    prepare(Path(folder), "leased")
