"""The process that reads health. It may hang in the kernel or crash in the driver without harm.

It writes its readings as lines of JSON, and marks each call that may hang before making it.
`agent.watch` supervises it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time

from agent import hardware, host
from agent.marks import GPU_MARK, HARDWARE_MARK, Marks
from agent.nvml import Gpus, NoGpus, load
from agent.signals import Values

TICK_S = 1.0
HARDWARE_S = 60.0
RETRY_S = 60.0
_NICE = 5
_PR_SET_PDEATHSIG = 1


def main(marks_file: int) -> None:
    """Read for as long as the agent is running."""
    os.nice(_NICE)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    marks = Marks(marks_file)
    threading.Thread(target=_read_hardware, args=(marks,), daemon=True).start()
    while True:
        try:
            _read_gpus(marks)
        except NoGpus as error:
            _say({"absent": str(error)})
        marks.set(GPU_MARK, "")
        time.sleep(RETRY_S)


def _read_gpus(marks: Marks) -> None:
    """Read the GPUs for ever. Raises `NoGpus`."""

    def announce(call: str) -> None:
        marks.set(GPU_MARK, call)

    announce("nvmlInit")
    gpus = Gpus(load(), announce)
    while True:
        now = host.boottime()
        news = gpus.read(now)
        if news:
            _say({"gpus": gpus.values(), "driver": gpus.driver, "nvml": gpus.version, "at": now})
        # Signals that are read every second need no extra reading in between.
        for pci, xid in gpus.wait(TICK_S):
            _say({"xid": xid, "pci": pci, "at": host.boottime()})


def _read_hardware(marks: Marks) -> None:
    while True:
        marks.set(HARDWARE_MARK, "disks, memory and links")
        values = hardware.read()
        marks.set(HARDWARE_MARK, "")
        _say({"hardware": values})
        time.sleep(HARDWARE_S)


_speaking = threading.Lock()


def _say(line: Values) -> None:
    try:
        with _speaking:
            sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
            sys.stdout.flush()
    except BrokenPipeError:
        os._exit(0)  # the agent has exited
