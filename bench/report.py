"""The object that every benchmark writes."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path


@dataclass
class Report:
    name: str
    figures: dict[str, float]
    peers: dict[str, dict[str, float]] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    machine: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        self.machine = f"{os.cpu_count()} x {_processor()}, {platform.platform()}"
        self.version = f"{version('ironlease')} ({_commit()})"

    def write(self, path: Path | None) -> None:
        text = json.dumps(asdict(self), indent=2)
        print(text)
        if path is not None:
            path.write_text(text + "\n")


def middle(values: Sequence[float]) -> float:
    """Return the median in hundredths: timings of a shared machine are no more precise."""
    return round(statistics.median(values), 2)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"
