"""What the agent's tests share: a GPU server's NVML, simulated by lab/nvml, and an agent on it."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpu_agent import Agent, Reader

from lab.nvml import FakeNvml, build


@pytest.fixture(scope="session", autouse=True)
def nvml_library() -> ctypes.CDLL:
    """Load the fake before nvidia-ml-py asks for a library of its name."""
    return ctypes.CDLL(str(build() / "libnvidia-ml.so.1"))


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Eight H100, seen by this process and by readers that it starts."""
    fake = FakeNvml(tmp_path / "nvml")
    for name, value in fake.environment().items():
        monkeypatch.setenv(name, value)
    return fake


@pytest.fixture
def agent(gpus: FakeNvml) -> Agent:
    return Agent(gpus)


@pytest.fixture
def reader(gpus: FakeNvml) -> Iterator[Reader]:
    running = Reader()
    yield running
    running.end()
