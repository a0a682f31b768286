"""The installed daemon, restricted to one core, and its resource use."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

_START_S = 120.0
_STOP_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Daemon:
    """`python -m provisioner` on one core until the end of the `with` block."""

    def __init__(self, folder: Path, database_url: str, core: int) -> None:
        self._log = folder / "daemon.log"
        self.log = ""
        """Its output, once it has stopped."""
        self.port = _free_port()
        environment = {
            **os.environ,
            "IRONLEASE_DATA_DIR": str(folder),
            "DATABASE_URL": database_url,
            "IRONLEASE_LISTEN_PORT": str(self.port),
            # All agents of the bench have one address.
            "IRONLEASE_MAX_CONNECTIONS_PER_ADDRESS": "1000000",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["taskset", "--cpu-list", str(core), sys.executable, "-m", "provisioner"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the daemon did not start:\n{self.log}")
            time.sleep(0.2)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it as a service manager does; then everything it still held is in the database."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_STOP_S)
        self.log = self._log.read_text()

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1024, 1)
        raise RuntimeError("the daemon has ended")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port
