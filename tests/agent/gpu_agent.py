"""A GPU server's agent in tests: its readings, and the provisioner that judges its reports."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.nvml import Gpus, load
from agent.protocol import Report
from agent.signals import Values
from agent.watch import Watch
from lab.nvml import FakeNvml
from provisioner.domain.health import HEALTHY, Sample, Verdict, remember, verdict

START = datetime(2030, 1, 1, tzinfo=UTC)
BOOT_S = 1000.0
NOWHERE = Path("/nonexistent")


class Agent:
    """An agent and the provisioner that judges its reports, on one clock without waiting."""

    def __init__(self, fake: FakeNvml, gpus_expected: int = 8) -> None:
        self.fake = fake
        self.watch = Watch(lambda: None, kernel_log=NOWHERE)
        self.verdict: Verdict = HEALTHY
        self.calls: list[str] = []
        self.second = 0
        self._gpus = Gpus(load(), self.calls.append)
        self._expected = gpus_expected
        self._history: tuple[Sample, ...] = ()

    def look(self, seconds: int, *, every: int = 10) -> Verdict:
        """Read, report and judge for this long."""
        for _ in range(0, seconds, every):
            self.read()
            self.second += every
        return self.read()

    def read(self) -> Verdict:
        """Make one reading; return the verdict on its report as JSON."""
        now = BOOT_S + self.second
        self._gpus.read(now)
        for pci, xid in self._gpus.wait(0):
            self.watch.take({"xid": xid, "pci": pci, "at": now})
        self._gpus.read(now)  # an event ends the reader's wait, and it reads again
        gpus = self._gpus.values()
        driver = {"driver": self._gpus.driver, "nvml": self._gpus.version}
        self.watch.take({"gpus": gpus, "at": now, **driver})
        at = START + timedelta(seconds=self.second)
        self._history = remember(self._history, Sample.of(self.report(), at))
        self.verdict = verdict(
            self._history, now=at, gpus_expected=self._expected, previous=self.verdict
        )
        return self.verdict

    def report(self) -> Values:
        """Return what the provisioner stores of the agent's report."""
        sent = Report(
            server="srv_1",
            context="tenant",
            boot_id="boot-1",
            sequence=1,
            uptime_s=BOOT_S + self.second,
            agent_version="1",
            hostname="r1-u01",
            lease=None,
            health=self.watch.health(),
        ).to_json()
        return Report.from_json(sent).to_dict()

    def gpu(self, index: int) -> Values:
        values: Values = self.report()["health"]["gpus"][index]
        return values


class Reader:
    """A watch with its reader, in a thread; both end with the test."""

    def __init__(self) -> None:
        self._news = threading.Event()
        self.watch = Watch(self._news.set, hung_s=2.0, kernel_log=NOWHERE)
        self._thread = threading.Thread(target=self.watch.watch_one)

    def start(self) -> None:
        self._thread = threading.Thread(target=self.watch.watch_one)
        self._thread.start()

    def until(self, what: Callable[[Values], bool]) -> Values:
        """Return the health as soon as `what` holds."""
        for _ in range(600):
            health = self.watch.health()
            if what(health):
                return health
            self._news.wait(0.1)
            self._news.clear()
        raise AssertionError(f"never so: {self.watch.health()}")

    def end(self) -> None:
        """End the reader as a crash would; the watch notices."""
        if self.watch.reader is not None:
            self.watch.reader.kill()
        if self._thread.ident:
            self._thread.join(60)
        assert not self._thread.is_alive()
