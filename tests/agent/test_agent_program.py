"""The agent as shipped: one file, on any Python, within its budget."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from agent.build import write_zipapp
from lab.nvml import FakeNvml

BUDGET_KB = 60_000


class Provisioner(http.server.ThreadingHTTPServer):
    """Takes reports and asks for one each second."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reports: Queue[dict[str, Any]] = Queue()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Provisioner

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.reports.put(json.loads(body))
        answer = b'{"interval_s": 1, "grant": null}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def provisioner() -> Iterator[Provisioner]:
    with Provisioner() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def program(gpus: FakeNvml, provisioner: Provisioner, tmp_path: Path) -> Iterator[int]:
    """The process id of an agent that reports."""
    write_zipapp(tmp_path / "agent.pyz")
    config = {
        "url": f"http://127.0.0.1:{provisioner.server_port}",
        "server": "srv_1",
        "token": "t",
        "context": "ramdisk",
        "interval_s": 1,
        "grant": None,
    }
    (tmp_path / "agent.json").write_text(json.dumps(config))
    # The archive must hold everything it needs: no site-packages.
    command = [sys.executable, "-I", "-S", tmp_path / "agent.pyz", tmp_path / "agent.json"]
    with subprocess.Popen(command, env={**os.environ, **gpus.environment()}) as process:
        yield process.pid
        process.kill()


def until(provisioner: Provisioner, state: str) -> dict[str, Any]:
    """Return the health in the first report with this state; most reports carry none."""
    for _ in range(90):
        health: dict[str, Any] | None = provisioner.reports.get(timeout=60)["health"]
        if health is not None and health["state"] == state:
            return health
    raise AssertionError(f"never {state}")


def memory_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def test_the_shipped_agent_reports_its_gpus_within_its_memory(
    program: int, provisioner: Provisioner
) -> None:
    health = until(provisioner, "ok")
    assert [gpu["name"] for gpu in health["gpus"]] == ["NVIDIA H100 80GB HBM3"] * 8
    [reader] = children(program)
    assert memory_kb(program) + memory_kb(reader) < BUDGET_KB


def test_the_reader_ends_with_the_agent(program: int, provisioner: Provisioner) -> None:
    until(provisioner, "ok")
    [reader] = children(program)
    os.kill(program, 9)
    for _ in range(100_000):
        if not Path(f"/proc/{reader}").exists() or "State:\tZ" in status_of(reader):
            return
    raise AssertionError("the reader lives on")


def status_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "State:\tZ"


def test_the_same_sources_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_zipapp(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
