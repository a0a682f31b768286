"""What the agent's tests share: a GPU server's NVML, played by lab/nvml."""

import ctypes
from pathlib import Path

import pytest

from lab.nvml import STATE, FakeNvml, build


@pytest.fixture(scope="session", autouse=True)
def nvml_library() -> ctypes.CDLL:
    """The fake, loaded before nvidia-ml-py asks for a library of its name."""
    return ctypes.CDLL(str(build() / "libnvidia-ml.so.1"))


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Eight H100, seen by this process."""
    fake = FakeNvml(tmp_path / "nvml")
    monkeypatch.setenv(STATE, str(fake.file))
    return fake
