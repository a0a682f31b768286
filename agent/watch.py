"""Supervises the reader and holds its readings: the health that reports carry.

A hanging call costs the reader, never the agent.
"""

from __future__ import annotations

import collections
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from agent.kernel_log import KernelLog
from agent.marks import GPU_MARK, HARDWARE_MARK, MARKS_SIZE, Marks
from agent.signals import MOST_PARTS, Values

HUNG_S = 30.0
RESTART_S = 60.0
# The machine's start-up, and the customer's first steps, come first.
FIRST_AFTER_S = 5.0
_TWINS_S = 5.0
_LOOK_S = 1.0
_LARGEST_READ = 1 << 16
_log = logging.getLogger("agent")

# The reader runs from the agent's own folder or archive.
_HERE = Path(__file__).parents[1]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from agent.reader import main; main({})"


class Watch:
    """Starts the reader, collects its readings, and ends it when it hangs."""

    def __init__(
        self,
        on_news: Callable[[], None],
        *,
        hung_s: float = HUNG_S,
        restart_s: float = RESTART_S,
        kernel_log: Path = Path("/dev/kmsg"),
    ) -> None:
        """`on_news` is called when something happens that should not wait for the next report."""
        self._on_news = on_news
        self._hung_s = hung_s
        self._restart_s = restart_s
        self._state, self._reason = "starting", ""
        self._gpus: Values = {"gpus": []}
        self._hardware: Values = {}
        self._events: collections.deque[Values] = collections.deque(maxlen=MOST_PARTS)
        self._paired: collections.deque[str] = collections.deque(maxlen=2 * MOST_PARTS)
        self._lock = threading.Lock()
        self.reader: subprocess.Popen[bytes] | None = None
        self._log: KernelLog | None = None
        try:
            self._log = KernelLog(kernel_log)
        except OSError as error:
            _log.info("%s: %s; XIDs come only from the driver", kernel_log, error)

    def health(self) -> Values:
        """Return what is known now, as a report carries it."""
        with self._lock:
            return {
                **self._hardware,
                **self._gpus,
                "state": self._state,
                "reason": self._reason,
                "events": [dict(event) for event in self._events],
            }

    def run(self) -> None:
        """Supervise for ever."""
        try:
            self._pause(FIRST_AFTER_S)
            while True:
                self.watch_one()
                self._pause(self._restart_s)
        except Exception as error:
            with self._lock:
                self._state, self._reason = "failed", f"watching the GPUs failed: {error}"
            raise

    def watch_one(self) -> None:
        """Follow one reader from its start to its end, by a hanging call or a crash."""
        marks_file = os.memfd_create("ironlease-marks")
        try:
            os.ftruncate(marks_file, MARKS_SIZE)
            self.reader = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM.format(marks_file), str(_HERE)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                pass_fds=[marks_file],
            )
            self._listen(self.reader, Marks(marks_file))
        finally:
            os.close(marks_file)

    def _listen(self, reader: subprocess.Popen[bytes], marks: Marks) -> None:
        assert reader.stdout is not None  # noqa: S101
        output, rest = reader.stdout.fileno(), b""
        loops = {loop: _Loop(marks, loop, self._hung_s) for loop in (GPU_MARK, HARDWARE_MARK)}
        while not loops[GPU_MARK].hangs():
            if output in self._look([output], _LOOK_S):
                said = os.read(output, _LARGEST_READ)
                if not said:
                    self._end(reader, "failed", "the reader ended")
                    return
                *lines, rest = (rest + said).split(b"\n")
                for line in lines:
                    self.take(json.loads(line))
            self._hardware["hardware_hung"] = loops[HARDWARE_MARK].hangs()
        self._end(reader, "hung", f"{loops[GPU_MARK].call} has not returned")

    def _end(self, reader: subprocess.Popen[bytes], state: str, reason: str) -> None:
        """End the reader. One hung in the kernel does not end, and a second one would hang too."""
        reader.kill()
        with self._lock:
            self._state, self._reason = state, reason
            self._gpus = {**self._gpus, "gpus": []}
        _log.warning("GPU health: %s", reason)
        self._on_news()
        while reader.poll() is None:
            self._look([], _LOOK_S)
        if reader.stdout is not None:
            reader.stdout.close()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._look([], left)

    def _look(self, files: list[int], seconds: float) -> list[int]:
        """Wait for the files and the kernel log; return the files that have data."""
        log = [self._log.file] if self._log else []
        ready, _, _ = select.select([*files, *log], [], [], seconds)
        if self._log and self._log.file in ready:
            for event in self._log.xids():
                self.note(event)
        return ready

    def take(self, line: Values) -> None:
        """Process one message from the reader."""
        if "hardware" in line:
            with self._lock:
                self._hardware = line["hardware"]
        elif "xid" in line:
            event = {"id": f"n{line['at'] * 1000:.0f}", "at_s": line["at"], "text": ""}
            self.note({**event, "pci": line["pci"], "xid": line["xid"]})
        elif "absent" in line:
            with self._lock:
                self._state, self._reason = "absent", line["absent"]
                self._gpus = {"gpus": []}
        else:
            before = alarms(self._gpus)
            with self._lock:
                self._state, self._reason = "ok", ""
                self._gpus = {
                    "driver": line["driver"],
                    "nvml": line["nvml"],
                    "read_s": round(line["at"], 3),
                    "gpus": line["gpus"],
                }
            if alarms(self._gpus) != before:
                self._on_news()

    def note(self, event: Values) -> None:
        """Keep an event, but only once if both the driver and the kernel's log report it."""
        with self._lock:
            twin = next((known for known in self._events if self._twins(known, event)), None)
            if twin is None:
                self._events.append(event)
            else:
                self._paired.extend((twin["id"], event["id"]))
                twin["text"] = twin["text"] or event["text"]
        if twin is None:
            self._on_news()

    def _twins(self, known: Values, event: Values) -> bool:
        """Whether both are the same error, reported by two sources."""
        return (
            known["id"][0] != event["id"][0]
            and known["id"] not in self._paired
            and (known["pci"], known["xid"]) == (event["pci"], event["xid"])
            and abs(known["at_s"] - event["at_s"]) < _TWINS_S
        )


class _Loop:
    """Tells from its marks whether one of the reader's loops hangs."""

    def __init__(self, marks: Marks, loop: int, hung_s: float) -> None:
        self._marks = marks
        self._loop = loop
        self._hung_s = hung_s
        self._mark = b""
        self._since = time.monotonic()
        self.call = ""

    def hangs(self) -> bool:
        mark, self.call = self._marks.get(self._loop)
        if mark != self._mark:
            self._mark, self._since = mark, time.monotonic()
        return bool(self.call) and time.monotonic() - self._since > self._hung_s


def alarms(health: Values) -> list[object]:
    """Return the part of a machine's health that must not wait for the next full report."""
    return [
        health.get("state"),
        health.get("hardware_hung"),
        [event["id"] for event in health.get("events", ())],
        *((gpu.get("lost"), gpu.get("recovery_action")) for gpu in health.get("gpus", ())),
    ]
