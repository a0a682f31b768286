"""The rack for its users: bring it up, query it, break it, take it down.

A thin, synchronous client of the rack process; tests, the demonstration, benchmarks and the command
line all use this class.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from ruamel.yaml import YAML

from lab.rack import control, namespaces
from lab.rack.bmc import BmcFault
from lab.rack.errors import RackError, RackIsUp, RackNotUp
from lab.rack.machine import BootDevice
from lab.rack.plan import (
    DEFAULT_NAME,
    PROVISIONING_TAG,
    RUN_ROOT,
    MachineOptions,
    RackPlan,
    ServerPlan,
    data_folder,
    plan_rack,
    run_folder,
)

PowerAction = Literal["on", "off", "reset", "button", "kill"]
DiskFault = Literal["break", "fill"]
_T = TypeVar("_T")

_START_SECONDS = 120
_STOP_SECONDS = 30


class Rack:
    """A running rack. As a context manager it is taken down at the end."""

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        """Attach to a running rack.

        Raises RackNotUp if there is none of this name.
        """
        if not _answers(name):
            raise RackNotUp(name)
        self.plan = RackPlan.load(run_folder(name) / "plan.json")

    @classmethod
    def up(
        cls,
        name: str = DEFAULT_NAME,
        servers: int = 2,
        *,
        disk_size: str = "4G",
        memory_mib: int = 1024,
        options: Mapping[int, MachineOptions] | None = None,
    ) -> Rack:
        """Bring up a rack with all its servers powered off and their disks empty.

        Whatever a killed rack of this name left behind is removed first. Raises RackIsUp if one is
        running, RackError if it cannot be started.
        """
        plan = plan_rack(name, servers, disk_size=disk_size, memory_mib=memory_mib, options=options)
        if os.geteuid() != 0:
            raise RackError("a rack needs root (network namespaces, taps); run this with sudo")
        with _locked(name):
            if _answers(name):
                raise RackIsUp(name)
            _clear(name)
            plan.run.mkdir(mode=0o700)
            plan.data.mkdir(mode=0o700, parents=True)
            plan.save(plan.run / "plan.json")
            with (plan.run / "inventory.yaml").open("w") as file:
                YAML(typ="safe").dump(plan.inventory(), file)
            _start_daemon(plan)
        return cls(name)

    @staticmethod
    def down(name: str = DEFAULT_NAME) -> None:
        """Take the rack down, if it is up, and remove everything it had, disks included."""
        if RUN_ROOT.exists():
            with _locked(name):
                _clear(name)

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def namespace(self) -> str:
        """The rack's network namespace, where its servers and BMCs can be reached."""
        return self.plan.name

    @property
    def servers(self) -> tuple[ServerPlan, ...]:
        return self.plan.servers

    @property
    def inventory_file(self) -> Path:
        return self.plan.run / "inventory.yaml"

    def inventory(self) -> dict[str, Any]:
        """The rack as an inventory document."""
        return self.plan.inventory()

    def status(self) -> dict[str, Any]:
        """Return power, faults, ports and processes of every server, as they are now."""
        status: dict[str, Any] = self._ask("status")
        return status

    def command(self, words: Sequence[str | Path]) -> list[str]:
        """Return `words` as a command that runs inside the rack's namespace."""
        return ["ip", "netns", "exec", self.namespace, *(str(word) for word in words)]

    def exec(
        self, words: Sequence[str | Path], *, timeout: float = 60, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the namespace; `options` are those of subprocess.run.

        Raises CalledProcessError if it fails, unless `check=False`.
        """
        options = {"capture_output": True, "text": True, **options}
        check = options.pop("check", True)
        result: subprocess.CompletedProcess[str] = subprocess.run(
            self.command(words), timeout=timeout, check=check, **options
        )
        return result

    def inside(self, call: Callable[[], _T]) -> _T:
        """Call a function in the namespace; sockets it opens stay there after it returns."""
        return namespaces.inside(self.namespace, call)

    def power(self, server: str, action: PowerAction | None = None) -> bool:
        """Do a power action (if any), bypassing the BMC; return whether the power is on now."""
        if action is not None:
            self._ask("power", server=server, action=action)
        return bool(self.server_status(server)["power"] == "on")

    def await_off(self, server: str, timeout: float = 30) -> bool:
        """Wait until the power is off, as when the server shuts itself down; False if it is not."""
        return bool(self._ask("await_off", server=server, timeout=timeout))

    def kill(self, server: str) -> None:
        """Kill the machine at once, whatever it is doing."""
        self._ask("power", server=server, action="kill")

    def boot(self, server: str, device: BootDevice) -> None:
        """Set the boot device of the next start: `pxe` once, or `default` (disks, then network)."""
        self._ask("boot", server=server, device=device)

    def set_boot_entry(self, server: str, *, exists: bool) -> None:
        """Add or remove a boot entry for the disk in the firmware, which overrides the BMC."""
        self._ask("boot_entry", server=server, exists=exists)

    def bmc_fault(self, server: str, fault: BmcFault | None) -> None:
        """Drop the BMC's packets, hang it, have it refuse logins, or clear the fault (None)."""
        self._ask("bmc", server=server, fault=fault)

    def disk_fault(self, server: str, serial: str, fault: DiskFault | None) -> None:
        """`break`: every access fails; `fill`: every write fails; None: it works. Acts at once."""
        self._ask("disk", server=server, serial=serial, fault=fault)

    def set_port(self, server: str, *, up: bool) -> None:
        """Open or shut the server's switch port; to both ends it looks like a pulled cable."""
        self._ask("port", server=server, up=up)

    def set_tag(self, server: str, tag: int = PROVISIONING_TAG) -> None:
        """Move the server's port to another network of the switch."""
        self._ask("tag", server=server, tag=tag)

    def set_dhcp(self, server: str, *, answered: bool) -> None:
        """Let the server's DHCP requests through, or drop them."""
        self._ask("dhcp", server=server, answered=answered)

    def console_text(self, server: str) -> str:
        """Return all serial output kept of a server, across its power cycles."""
        log = self.plan.console_log(self.plan.server(server).name)
        return log.read_text(errors="replace")

    def server_status(self, server: str) -> dict[str, Any]:
        """Return the part of `status` about one server."""
        name = self.plan.server(server).name
        return next(each for each in self.status()["servers"] if each["name"] == name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down(self.name)

    def _ask(self, verb: str, **arguments: Any) -> Any:
        try:
            return control.ask(self.plan.control_socket, verb, **arguments)
        except (FileNotFoundError, ConnectionError) as error:
            raise RackNotUp(self.name) from error


def names_up() -> list[str]:
    """Return the names of all racks running on this machine."""
    if not RUN_ROOT.exists():
        return []
    return sorted(path.name for path in RUN_ROOT.iterdir() if path.is_dir() and _answers(path.name))


def _answers(name: str) -> bool:
    try:
        control.ask(run_folder(name) / "control.sock", "status")
    except (FileNotFoundError, ConnectionError):
        return False
    return True


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Keep two clients from bringing one rack up or down at once."""
    RUN_ROOT.mkdir(mode=0o700, exist_ok=True)
    with (RUN_ROOT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start_daemon(plan: RackPlan) -> None:
    for namespace in (plan.name, namespaces.fabric(plan.name)):
        subprocess.run(["ip", "netns", "add", namespace], check=True)
    log = plan.run / "rackd.log"
    command = [sys.executable, "-m", "lab.rack.daemon", str(plan.run / "plan.json")]
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            ["ip", "netns", "exec", plan.name, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
    # The start time tells this process from a later one with the same number.
    (plan.run / "rackd.pid").write_text(f"{daemon.pid} {_started(daemon.pid)}")
    deadline = time.monotonic() + _START_SECONDS
    while not plan.control_socket.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            daemon.kill()
            reason = log.read_text()
            _clear(plan.name)
            raise RackError(f"rack {plan.name} did not come up; its process reported:\n{reason}")
        time.sleep(0.05)


def _clear(name: str) -> None:
    """End whatever runs of a rack, and remove its namespace and files."""
    run = run_folder(name)
    _stop_daemon(run)
    for namespace in (name, namespaces.fabric(name)):
        if (namespaces.FOLDER / namespace).exists():
            subprocess.run(["ip", "netns", "del", namespace], check=True)
    for folder in (run, data_folder(name)):
        if folder.exists():
            shutil.rmtree(folder)


def _stop_daemon(run: Path) -> None:
    pid_file = run / "rackd.pid"
    if not pid_file.exists():
        return
    pid, started = (int(word) for word in pid_file.read_text().split())
    if _started(pid) != started:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _started(pid) == started:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)  # its children die with it
        time.sleep(0.02)


def _started(pid: int) -> int | None:
    """Return when a process started (clock ticks since boot); None if gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])
