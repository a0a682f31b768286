"""A GPU server's NVML without a GPU: builds the library and writes the state it answers from.

Tests and the lab's machines use `FakeNvml`: a profile, and faults set while it runs.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
PROFILES = HERE / "profiles"
STATE = "IRONLEASE_NVML_STATE"
_BUILD = HERE.parents[1] / "build" / "nvml"
_FLAGS = (
    *("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-pthread"),
    *("-fvisibility=hidden", "-Wl,-soname,libnvidia-ml.so.1"),
)

ALL = "all"
XID = 0x8
RECOVERY_ACTION = 0x8000


def build(*, old_driver: bool = False) -> Path:
    """Return the folder with the library for `LD_LIBRARY_PATH`, compiled if its source changed.

    An old driver (R510) lacks the functions that came later.
    """
    sources = sorted(HERE.glob("*.[ch]"))
    library = _BUILD / ("old" if old_driver else "new") / "libnvidia-ml.so.1"
    if not library.exists() or library.stat().st_mtime < max(
        source.stat().st_mtime for source in sources
    ):
        library.parent.mkdir(parents=True, exist_ok=True)
        unfinished = library.with_suffix(f".{os.getpid()}")
        units = [source for source in sources if source.suffix == ".c"]
        define = ["-DOLD_DRIVER"] if old_driver else []
        subprocess.run(["gcc", *_FLAGS, *define, "-o", unfinished, *units], check=True)
        unfinished.replace(library)
    return library.parent


class FakeNvml:
    """The state file of one machine; the next NVML call sees each change."""

    def __init__(self, file: Path, profile: str = "h100-sxm-8") -> None:
        """Raises `FileNotFoundError` for a profile that is not in `profiles/`."""
        self.file = file
        shutil.copyfile(PROFILES / profile, file)
        self._events = 0

    def environment(self, *, old_driver: bool = False) -> Mapping[str, str]:
        """Return the variables with which a program finds this NVML."""
        folder = build(old_driver=old_driver)
        return {"LD_LIBRARY_PATH": str(folder), STATE: str(self.file)}

    def set(self, who: int | str, key: str, value: object) -> None:
        """Change a value of one GPU (by index), of all, or of the system."""
        self._write([*self._without(who, key), f"{who} {key} {value}"])

    def unset(self, who: int | str, key: str) -> None:
        """Remove a value: the GPU no longer supports it, or a fault is over."""
        self._write(self._without(who, key))

    def event(self, gpu: int, kind: int, data: int) -> None:
        """Raise an event for those registered for it now."""
        self._events += 1
        line = f"{gpu} event {self._events} {kind:#x} {data}"
        self._write([*self.file.read_text().splitlines(), line])

    def xid(self, gpu: int, number: int) -> None:
        self.event(gpu, XID, number)

    def lose(self, gpu: int) -> None:
        """Have the GPU fall off the bus, as reported by the driver."""
        self.xid(gpu, 79)
        self.set(gpu, "lost", 1)

    def hang(self, function: str, who: int | str = ALL) -> None:
        """Have calls of the function hang."""
        self.set(who, f"delay_ms.{function}", 86_400_000)

    def fail(self, function: str, code: int, who: int | str = ALL) -> None:
        """Have calls of the function return an error of `nvmlReturn_t`."""
        self.set(who, f"error.{function}", code)

    def _without(self, who: int | str, key: str) -> list[str]:
        prefix = f"{who} {key} "
        return [x for x in self.file.read_text().splitlines() if not x.startswith(prefix)]

    def _write(self, lines: list[str]) -> None:
        # Renamed into place: a reader sees either the old state or the new.
        written = self.file.with_suffix(".new")
        written.write_text("\n".join(lines) + "\n")
        written.replace(self.file)
