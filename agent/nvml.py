"""Reads the signals of this machine's GPUs through nvidia-ml-py, and changes nothing.

It never creates a GPU context. `agent.gpu` decides what is read from each GPU. A call may hang in
the kernel for ever, so this runs in a process of its own (`agent.reader`).
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from typing import Any

from agent.gpu import Announce, Gpu, handle_address, text
from agent.signals import Values

LIBRARY = "libnvidia-ml.so.1"

_XID = 0x8
_RECOVERY_ACTION = 0x8000


class NoGpus(Exception):
    """There are no GPUs to read; the text says why."""


def load() -> Any:
    """Return nvidia-ml-py with NVML initialised. Raises `NoGpus`."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise NoGpus(f"no NVIDIA driver: {error}") from error
    try:
        # Imported only once a driver is found, to save memory elsewhere.
        import pynvml  # noqa: PLC0415
    except ImportError as error:
        raise NoGpus("nvidia-ml-py is not installed") from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoGpus(f"NVML failed to start: {error}") from error
    return pynvml


class Gpus:
    """The GPUs of this machine. `announce` is called before every NVML call."""

    def __init__(self, pynvml: Any, announce: Announce) -> None:
        """Raises `NoGpus` if the driver has none."""
        self._nvml = pynvml
        self._announce = announce
        try:
            announce("nvmlDeviceGetCount")
            count = pynvml.nvmlDeviceGetCount()
            self.driver = text(pynvml.nvmlSystemGetDriverVersion())
            self.version = text(pynvml.nvmlSystemGetNVMLVersion())
        except pynvml.NVMLError as error:
            raise NoGpus(f"the driver does not answer: {error}") from error
        if not count:
            raise NoGpus("the driver has no GPU")
        self._gpus = [Gpu(pynvml, announce, index) for index in range(count)]
        self._events = self._registered()

    def read(self, now: float) -> bool:
        """Read what is due at `now`; return whether that was more than the clocks."""
        return max([gpu.read(now) for gpu in self._gpus])

    def wait(self, seconds: float) -> Iterator[tuple[str, int]]:
        """Wait up to `seconds` for events; yield each as PCI address and XID.

        When the driver's recommended action changes, it is read at once.
        """
        if self._events is None:
            self._announce("")  # no call, so nothing hangs
            time.sleep(seconds)
            return
        milliseconds = int(seconds * 1000)
        while True:
            self._announce("nvmlEventSetWait")
            try:
                event = self._nvml.nvmlEventSetWait(self._events, milliseconds)
            except self._nvml.NVMLError_Timeout:
                return
            except self._nvml.NVMLError:
                time.sleep(seconds)  # a GPU is lost: reading its state will show it
                return
            milliseconds = 0
            gpu = next(
                (gpu for gpu in self._gpus if gpu.address == handle_address(event.device)), None
            )
            if gpu is not None and event.eventType == _RECOVERY_ACTION:
                gpu.recommendation_changed()
            elif gpu is not None and event.eventType == _XID:
                yield gpu.values.get("pci", ""), int(event.eventData)

    def values(self) -> list[Values]:
        # Where no GPU has a link that is up, there is no bridge or switch to be linked to.
        wired = any(gpu.linked for gpu in self._gpus)
        return [gpu.report(wired=wired) for gpu in self._gpus]

    def _registered(self) -> Any:
        """Return an event set for everything the GPUs can report; None if there is nothing."""
        try:
            events = self._nvml.nvmlEventSetCreate()
        except self._nvml.NVMLError:
            return None
        registered = [gpu.register(events, _XID | _RECOVERY_ACTION) for gpu in self._gpus]
        return events if any(registered) else None
