"""The agent on a real GPU: it reads the driver correctly, costs little and disturbs nothing.

The fake NVML also answers as the real one does. `make test-gpu` on a machine with a GPU.
"""

from __future__ import annotations

import csv
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.protocol import Report
from agent.watch import Watch
from lab.nvml import PROFILES, FakeNvml
from provisioner.domain.health import HealthLevel, Sample, remember, verdict

DEVICE = Path("/dev/nvidia0")
READING_S = 60
AGENT_LIMIT_KIB = 60 << 10

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not DEVICE.exists(), reason=f"no {DEVICE}: it needs an NVIDIA GPU"),
]


class RunningWatch:
    """The agent's watch over the GPUs of this machine, with a real reader."""

    def __init__(self) -> None:
        self._news = threading.Event()
        self.watch = Watch(self._news.set)
        self._thread = threading.Thread(target=self.watch.watch_one, daemon=True)

    def read(self) -> dict[str, Any]:
        """Return the health once every group of signals has been read."""
        self._thread.start()
        for _ in range(READING_S):
            health = self.watch.health()
            if health["state"] == "ok":
                return health
            self._news.wait(1)
        raise AssertionError(f"nothing was read in {READING_S} s: {self.watch.health()}")

    def reader_pid(self) -> int:
        assert self.watch.reader is not None
        return self.watch.reader.pid

    def end(self) -> None:
        if self.watch.reader is not None:
            self.watch.reader.kill()
        self._thread.join(READING_S)


@pytest.fixture(scope="module")
def watch() -> Iterator[RunningWatch]:
    running = RunningWatch()
    yield running
    running.end()


@pytest.fixture(scope="module")
def health(watch: RunningWatch) -> dict[str, Any]:
    return watch.read()


def nvidia_smi(*columns: str, query: str = "gpu") -> list[dict[str, str]]:
    """Return what the driver's own tool reports for each GPU (or process)."""
    said = subprocess.run(
        ["nvidia-smi", f"--query-{query}={','.join(columns)}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = csv.reader(said.splitlines(), skipinitialspace=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_every_gpu_is_reported_under_its_own_name(health: dict[str, Any]) -> None:
    columns = ("uuid", "name", "vbios_version", "memory.total")
    for said, gpu in zip(nvidia_smi(*columns), health["gpus"], strict=True):
        assert gpu["uuid"] == said["uuid"]
        assert gpu["name"] == said["name"]
        assert gpu["vbios"] == said["vbios_version"]
        assert gpu["memory_total_mib"] == int(said["memory.total"])


def test_what_is_read_is_plausible(health: dict[str, Any]) -> None:
    for gpu in health["gpus"]:
        assert 0 < gpu["temperature_c"] < 110
        assert 0 < gpu["power_w"] <= gpu["power_limit_w"] * 1.2
        assert 0 <= gpu["memory_used_mib"] <= gpu["memory_total_mib"]
        assert gpu["lost"] is False
        assert gpu["errors"] == []


def test_a_report_of_it_is_accepted_and_a_sound_gpu_is_judged_sound(
    health: dict[str, Any],
) -> None:
    sent = Report(
        server="srv_1",
        context="ramdisk",
        boot_id="boot",
        sequence=1,
        uptime_s=1000.0,
        agent_version="1",
        hostname="gpu",
        lease=None,
        health=health,
    ).to_json()
    now = datetime.now(UTC)
    history = remember((), Sample.of(Report.from_json(sent).to_dict(), now))
    judged = verdict(history, now=now, gpus_expected=len(health["gpus"]))
    assert judged.level in (HealthLevel.OK, HealthLevel.WATCH), judged.summary


def test_the_agent_is_no_client_of_the_gpu(watch: RunningWatch, health: dict[str, Any]) -> None:
    clients = {int(row["pid"]) for row in nvidia_smi("pid", query="compute-apps")}
    assert watch.reader_pid() not in clients


def test_the_reader_stays_small(watch: RunningWatch, health: dict[str, Any]) -> None:
    status = Path(f"/proc/{watch.reader_pid()}/status").read_text()
    (resident,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    assert int(resident) < AGENT_LIMIT_KIB


def test_the_fake_has_the_signals_of_the_real_one(
    health: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If one of the two lacks a signal, fix lab/nvml."""
    name = health["gpus"][0]["name"]
    profiles = [file.name for file in PROFILES.iterdir() if f" name {name}\n" in file.read_text()]
    if not profiles:
        pytest.skip(f"lab/nvml has no profile of a {name}")
    nvml = FakeNvml(tmp_path / "nvml", profiles[0])
    if "nvlinks" not in health["gpus"][0]:  # a GPU alone in a virtual machine has none
        nvml.unset("all", "field.91")
    for variable, value in nvml.environment().items():
        monkeypatch.setenv(variable, value)
    faked = RunningWatch()
    try:
        fake = set(faked.read()["gpus"][0])
    finally:
        faked.end()
    real = set(health["gpus"][0])
    assert real == fake, f"only real: {sorted(real - fake)}; only fake: {sorted(fake - real)}"
