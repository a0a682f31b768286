"""The GPUs of a simulated server: an NVML in process, read by the agent's own code.

Its values follow from the time alone, so that a day's history takes no day, and are the same in
every run.
"""

import ctypes
import math
import uuid
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pynvml

from agent.nvml import Gpus
from lab.nvml import PROFILES

_CYCLE_S = 5 * 3600
_PAUSE_S = 25 * 60
"""At the start of each cycle a training run loads its next data."""
_MIB = 1 << 20
_UNCORRECTED, _DRAM = 1, 2
_NVLINKS = 91
"""Left out: reading 18 links of each GPU would take most of the time."""


class SimulatedGpus:
    """Eight H100 as in the lab's profile, idle or training; at `present` they train."""

    def __init__(self, server: str, present: datetime) -> None:
        self._nvml = _Nvml(server, present.timestamp())
        self._gpus = Gpus(self._nvml, lambda call: None)  # no call hangs here

    def health(self, at: datetime, *, busy: bool, lost: frozenset[int]) -> dict[str, Any]:
        """Return what the server's agent reports at a time, which may not go backwards."""
        self._nvml.set(at.timestamp(), busy=busy, lost=lost)
        self._gpus.read(at.timestamp())
        return {
            "state": "ok",
            "reason": "",
            "driver": self._gpus.driver,
            "nvml": self._gpus.version,
            "gpus": self._gpus.values(),
            "events": [],
        }


class _Nvml:
    """What `agent.nvml` and `agent.gpu` call; errors and structures are nvidia-ml-py's."""

    def __init__(self, server: str, present: float) -> None:
        self._server = server
        self._profile: dict[tuple[str, str], str] = {}
        for line in (PROFILES / "h100-sxm-8").read_text().splitlines():
            if not line.startswith("#"):
                who, key, value = line.split(" ", 2)
                self._profile[who, key] = value
        # Of this server: one to three hours into a cycle at present.
        self._start = present - 3600 - zlib.crc32(server.encode()) % 7200
        self._since: float | None = None
        self.at = 0.0
        self.busy = False
        self.lost: frozenset[int] = frozenset()

    def set(self, at: float, *, busy: bool, lost: frozenset[int]) -> None:
        self.at, self.busy, self.lost = at, busy, lost
        self._since = self._since or at

    def __getattr__(self, name: str) -> Any:
        if name in _SYSTEM:
            return lambda: _SYSTEM[name](self)
        if name in _DEVICE:
            return lambda handle, *arguments: _DEVICE[name](self, self._index(handle), *arguments)
        if name.startswith(("NVML_", "NVMLError")):
            return getattr(pynvml, name)
        if name == "nvmlDeviceGetHandleByIndex":
            return self._handle
        raise AttributeError(name)

    def _handle(self, index: int) -> ctypes.c_void_p:
        handle = ctypes.c_void_p(index + 1)
        self._index(handle)
        return handle

    def _index(self, handle: ctypes.c_void_p) -> int:
        index = (handle.value or 0) - 1
        if index in self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return index

    def system(self, key: str) -> str:
        return self._profile["system", key]

    def text(self, gpu: int, key: str) -> str:
        return self._profile.get((str(gpu), key)) or self._profile["all", key]

    def number(self, gpu: int, key: str) -> int:
        moving = _MOVING.get(key)
        return int(self.text(gpu, key), 0) if moving is None else round(moving(self, gpu))

    def uuid(self, gpu: int) -> str:
        return f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{self._server}/{gpu}')}"

    def pci(self, gpu: int) -> Any:
        info = pynvml.nvmlPciInfo_t()
        info.busId = self.text(gpu, "pci").encode()
        return info

    def utilisation(self, gpu: int) -> Any:
        rates = pynvml.c_nvmlUtilization_t()
        rates.gpu = rates.memory = self.number(gpu, "utilization.gpu")
        return rates

    def memory(self, gpu: int) -> Any:
        memory = pynvml.c_nvmlMemory_t()
        memory.total = self.number(gpu, "memory.total")
        memory.used = self.number(gpu, "memory.used")
        return memory

    def memory_errors(self, gpu: int, kind: int, counter: int, location: int) -> int:
        weak = (zlib.crc32(self._server.encode()) + gpu) % 11 == 0
        if kind == _UNCORRECTED or location != _DRAM or not weak:
            return 0
        return int((self.at - (self._since or self.at)) // (4 * 3600))

    def fields(self, gpu: int, wanted: list[Any]) -> list[Any]:
        fields = []
        for each in wanted:
            number = each[0] if isinstance(each, tuple) else each
            field = pynvml.c_nvmlFieldValue_t()
            if number == _NVLINKS:
                field.nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
            else:
                field.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
                field.value.uiVal = self.number(gpu, f"field.{number}")
            fields.append(field)
        return fields

    def wave(self, gpu: int) -> float:
        """Return a slow movement between -1 and 1, another one for each GPU."""
        return math.sin((self.at - self._start) / 2000 + gpu * 1.3)

    @property
    def trains(self) -> bool:
        return self.busy and (self.at - self._start) % _CYCLE_S > _PAUSE_S


def _no_events(nvml: _Nvml) -> None:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def _text(key: str) -> Callable[[_Nvml, int], str]:
    return lambda nvml, gpu: nvml.text(gpu, key)


def _number(key: str) -> Callable[..., int]:
    return lambda nvml, gpu, *_: nvml.number(gpu, key)


_SYSTEM: dict[str, Callable[[_Nvml], Any]] = {
    "nvmlDeviceGetCount": lambda nvml: int(nvml.system("count")),
    "nvmlSystemGetDriverVersion": lambda nvml: nvml.system("driver"),
    "nvmlSystemGetNVMLVersion": lambda nvml: nvml.system("nvml"),
    "nvmlEventSetCreate": _no_events,
}

_DEVICE: dict[str, Callable[..., Any]] = {
    "nvmlDeviceGetUUID": _Nvml.uuid,
    "nvmlDeviceGetPciInfo": _Nvml.pci,
    "nvmlDeviceGetSerial": _text("serial"),
    "nvmlDeviceGetName": _text("name"),
    "nvmlDeviceGetVbiosVersion": _text("vbios"),
    "nvmlDeviceGetCurrentClocksEventReasons": _number("clocks.reasons"),
    "nvmlDeviceGetTemperature": _number("temperature"),
    "nvmlDeviceGetMarginTemperature": _number("temperature.margin"),
    "nvmlDeviceGetPowerUsage": _number("power.usage"),
    "nvmlDeviceGetEnforcedPowerLimit": _number("power.enforced"),
    "nvmlDeviceGetPowerManagementDefaultLimit": _number("power.default"),
    "nvmlDeviceGetUtilizationRates": _Nvml.utilisation,
    "nvmlDeviceGetMemoryInfo": _Nvml.memory,
    "nvmlDeviceGetMemoryErrorCounter": _Nvml.memory_errors,
    "nvmlDeviceGetFieldValues": _Nvml.fields,
    "nvmlDeviceGetCurrPcieLinkGeneration": _number("pcie.generation"),
    "nvmlDeviceGetMaxPcieLinkGeneration": _number("pcie.generation_max"),
    "nvmlDeviceGetCurrPcieLinkWidth": _number("pcie.width"),
    "nvmlDeviceGetMaxPcieLinkWidth": _number("pcie.width_max"),
    "nvmlDeviceGetPcieReplayCounter": _number("pcie.replays"),
}
"""What is not here, this NVML does not have; the agent leaves it out of its reports."""

_MOVING: dict[str, Callable[[_Nvml, int], float]] = {
    "temperature": lambda n, gpu: (61 if n.trains else 33) + 3 * n.wave(gpu) + gpu % 4,
    "temperature.margin": lambda n, gpu: (26 if n.trains else 54) - 3 * n.wave(gpu) - gpu % 4,
    "field.82": lambda n, gpu: (72 if n.trains else 42) + 3 * n.wave(gpu) + gpu % 4,
    "power.usage": lambda n, gpu: 1000 * ((620 if n.trains else 78) + 20 * n.wave(gpu)),
    "utilization.gpu": lambda n, gpu: 96 + 3 * n.wave(gpu) if n.trains else 0,
    "memory.used": lambda n, gpu: _MIB * (71_000 + 900 * n.wave(gpu) if n.busy else 4),
    "clocks.reasons": lambda n, gpu: 0 if n.trains else 1,
}
"""Values that differ from the profile's."""
