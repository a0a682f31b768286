"""Real BMCs for the tests: `ipmi_sim` on loopback, with a chassis whose state is in files.

`SimulatedBmc` provides the target to talk to, what the chassis was told, and faults.
"""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab.rack.bmc_records import emulator_commands
from lab.rack.plan import ServerPlan
from provisioner.drivers.bmc.base import BmcTarget

# Get Channel Authentication Capabilities without a session: every BMC answers it.
_HELLO = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")

_CHASSIS = """#!/bin/sh
# chassis_control of ipmi_sim: [get|set] parameter [value] …; the state is a file each.
cd "{folder}" || exit 1
echo "$@" >> commands
verb=$1; shift
if [ "$verb" = get ]; then
    for name; do echo "$name:$(cat "$name")"; done
    exit 0
fi
while [ -n "$1" ]; do
    case $1 in
        power) echo "$2" > power ;;
        boot) echo "$2" > boot ;;
        reset) echo 1 > power ;;
        shutdown) echo 0 > power ;;
        *) exit 1 ;;
    esac
    shift 2
done
"""

_LAN = """name "{name}"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md5
    allowed_auths_user none md5
    allowed_auths_operator md5
    allowed_auths_admin md5
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{folder}/chassis"
  user 1 true "" "" user 10 none
  user 2 true "admin" "secret" admin 10 md5
  user 3 true "planted" "hidden" admin 10 md5
"""


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class SimulatedBmc:
    folder: Path
    port: int = field(default_factory=free_udp_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def target(self) -> BmcTarget:
        return BmcTarget("ipmi", "127.0.0.1", self.port, "admin", "secret")

    async def start(self) -> None:
        (self.folder / "state").mkdir(parents=True, exist_ok=True)
        (self.folder / "power").write_text("0\n")
        (self.folder / "boot").write_text("default\n")
        chassis = self.folder / "chassis"
        chassis.write_text(_CHASSIS.format(folder=self.folder))
        chassis.chmod(0o755)
        (self.folder / "lan.conf").write_text(
            _LAN.format(name=self.folder.name, port=self.port, folder=self.folder)
        )
        plan = ServerPlan(
            number=1,
            name="r1-u01",
            serial="ILSRV01",
            mac="52:54:00:77:00:01",
            address="",
            bmc_address="127.0.0.1",
            bmc_port=self.port,
            link_address="",
            disks=(),
        )
        (self.folder / "emulator").write_text(emulator_commands(plan))
        with (self.folder / "log").open("w") as log:
            self.process = await asyncio.create_subprocess_exec(
                "ipmi_sim",
                "-n",
                *("-c", self.folder / "lan.conf"),
                *("-f", self.folder / "emulator"),
                *("-s", self.folder / "state"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(30):
            while not await self._answers():
                assert self.process.returncode is None, (self.folder / "log").read_text()

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def hang(self) -> None:
        """Keep the BMC alive but have it answer nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    @property
    def powered(self) -> bool:
        return (self.folder / "power").read_text().strip() == "1"

    @property
    def boot_device(self) -> str:
        return (self.folder / "boot").read_text().strip()

    @property
    def settings(self) -> list[str]:
        """The `set` commands the chassis received, in order."""
        lines = (self.folder / "commands").read_text().splitlines()
        return [line.removeprefix("set ") for line in lines if line.startswith("set ")]

    async def log(self, event: bytes) -> None:
        """Add a record to the event log over the wire, as firmware and BMCs do (Add SEL Entry)."""
        record = ["0x00", "0x00", "0x02", *(f"{byte:#04x}" for byte in event)]
        login = ["-H", "127.0.0.1", "-p", str(self.port), "-U", "admin", "-P", "secret"]
        process = await asyncio.create_subprocess_exec(
            *("ipmitool", "-I", "lanplus", "-C", "3", *login, "raw", "0x0a", "0x44", *record),
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0

    async def _answers(self) -> bool:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", self.port))
            try:
                await loop.sock_sendall(sock, _HELLO)
                return bool(await asyncio.wait_for(loop.sock_recv(sock, 64), 0.1))
            except (TimeoutError, ConnectionRefusedError):
                return False


StartBmc = Callable[[], Awaitable[SimulatedBmc]]
