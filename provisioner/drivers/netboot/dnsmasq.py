"""DHCP, TFTP and router advertisements of the provisioning network: a supervised dnsmasq.

Its configuration is `dnsmasq_settings.py`'s. Knows when which machine last asked for an address,
so that "never asked" can be told from "asked and did not boot".
"""

import asyncio
import logging
import os
import re
import shutil
import signal
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from provisioner.domain.failures import Failure, FailureKind
from provisioner.drivers.netboot.base import Host, Netboot
from provisioner.drivers.netboot.dnsmasq_settings import (
    BOOT_PROGRAMS,
    FIRST_SCRIPT,
    DnsmasqSettings,
    configuration,
    host_list,
)
from provisioner.drivers.netboot.ipxe import first_script

_log = logging.getLogger(__name__)
_REQUEST = re.compile(
    r"DHCP(?:DISCOVER|REQUEST|INFORM)\(\S+\) (?:[\d.]+ )?((?:[0-9a-f]{2}:){5}[0-9a-f]{2})\b"
)
_BOOT_PROGRAMS_FOLDER = Path("/usr/lib/ipxe")
_START_LIMIT_S = 20.0
_STOP_LIMIT_S = 10.0
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 30.0
_STABLE_S = 60.0
"""After running this long the next death is a new one, and the backoff begins anew."""
_REMEMBERED_MACS = 4096
"""Anybody on the wire can invent MACs; only the latest are remembered."""


class DnsmasqFailed(Failure):
    """dnsmasq does not run, or not as told."""

    code = "dnsmasq_failed"
    kind = FailureKind.CONFIGURATION

    def __init__(self, reason: str, next_action: str) -> None:
        super().__init__(f"dnsmasq: {reason}", next_action=next_action)


class Dnsmasq(Netboot):
    """One dnsmasq process, started again when it ends.

    `on_death` is called with the reason each time it ended by itself and before it is started
    again. A dnsmasq left over by a killed provisioner is ended first. `command` starts it, in a
    network namespace for example.
    """

    def __init__(
        self,
        settings: DnsmasqSettings,
        *,
        on_death: Callable[[str], None] | None = None,
        command: Sequence[str] = ("dnsmasq",),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._on_death = on_death
        self._command = tuple(command)
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._owners: dict[str, str] = {}
        self._seen: OrderedDict[str, datetime] = OrderedDict()
        self._last_lines: deque[str] = deque(maxlen=5)
        self._hosts_read = asyncio.Event()
        self._renewing = False

    async def start(self, hosts: Iterable[Host] = ()) -> None:
        """Returns when it serves. Raises DnsmasqFailed with dnsmasq's own words."""
        self._prepare()
        self._write_hosts(hosts)
        await _end_left_over(self._settings)
        await self._spawn()
        self._supervisor = asyncio.create_task(self._supervise(), name="dnsmasq")

    async def stop(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        await self._end()

    async def set_hosts(self, hosts: Iterable[Host]) -> None:
        """Replace the known machines; returns when dnsmasq has them. Raises ValueError on a
        value it cannot take, DnsmasqFailed when it does not take them up."""
        owners = self._owners
        self._write_hosts(hosts)
        process = self._process
        if process is None or process.returncode is not None:
            return  # it reads them when it is started again
        self._hosts_read.clear()
        if any(owners.get(address, mac) != mac for address, mac in self._owners.items()):
            # It gives no address away on which another machine still holds a lease, and cannot be
            # told to forget one: it begins anew, without leases.
            self._renewing = True
            process.terminate()
        else:
            process.send_signal(signal.SIGHUP)
        try:
            async with asyncio.timeout(_START_LIMIT_S):
                await self._hosts_read.wait()
        except TimeoutError:
            raise DnsmasqFailed(
                f"has not read its list of hosts: {self._words()}",
                f"make {self._settings.hosts_file} readable by {self._settings.user}",
            ) from None

    def dhcp_seen(self, mac: str) -> datetime | None:
        """When this machine last asked for an address, known or not; None: never."""
        return self._seen.get(mac.lower())

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    def _prepare(self) -> None:
        """Folders, boot programs and configuration, reachable by the unprivileged user."""
        settings = self._settings
        for folder in (settings.state_dir, settings.tftp_root):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
            for parent in folder.resolve().parents:
                if not parent.stat().st_mode & 0o001:
                    raise DnsmasqFailed(
                        f"{settings.user} cannot reach {folder}",
                        f"let others pass through {parent} (chmod o+x), or set another folder",
                    )
        for name in BOOT_PROGRAMS:
            program = _BOOT_PROGRAMS_FOLDER / name
            if not program.exists():
                raise DnsmasqFailed(f"{program} is missing", "install the package ipxe")
            shutil.copyfile(program, settings.tftp_root / name)
            (settings.tftp_root / name).chmod(0o644)
        script = settings.tftp_root / FIRST_SCRIPT
        script.write_text(first_script(settings.base_url))
        script.chmod(0o644)
        settings.configuration_file.write_text(configuration(settings))

    def _write_hosts(self, hosts: Iterable[Host]) -> None:
        known = [(mac.lower(), address, name) for mac, address, name in hosts]
        new = self._settings.hosts_file.with_suffix(".new")
        new.write_text(host_list(known))
        new.chmod(0o644)
        new.replace(self._settings.hosts_file)
        self._owners = {address: mac for mac, address, _ in known}

    async def _spawn(self) -> None:
        self._settings.leases_file.unlink(missing_ok=True)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                f"--conf-file={self._settings.configuration_file}",
                "--keep-in-foreground",
                "--log-facility=-",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C at the terminal is for the provisioner alone
            )
        except FileNotFoundError:
            raise DnsmasqFailed("is not installed", "install the package dnsmasq-base") from None
        try:
            async with asyncio.timeout(_START_LIMIT_S):
                while (line := await self._read_line()) is not None:
                    # The last line of a start: the host list has been read.
                    if f"read {self._settings.hosts_file}" in line:
                        return
        except BaseException:
            await self._end()
            raise
        await self._process.wait()
        raise DnsmasqFailed(
            self._words(), "mend what it says; settings of netboot, or another DHCP server"
        )

    async def _supervise(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while True:
            started = time.monotonic()
            while await self._read_line() is not None:
                pass
            if self._process is not None:
                await self._process.wait()
            if time.monotonic() - started > _STABLE_S:
                backoff_s = _FIRST_BACKOFF_S
            while True:
                if self._renewing:
                    self._renewing = False
                else:
                    self._report_death()
                    await asyncio.sleep(backoff_s)
                    backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)
                try:
                    await self._spawn()
                except (DnsmasqFailed, TimeoutError, OSError) as error:
                    self._last_lines.append(str(error))
                else:
                    break

    def _report_death(self) -> None:
        reason = f"dnsmasq ended: {self._words()}"
        _log.error("%s; it is started again", reason)
        if self._on_death is not None:
            self._on_death(reason)

    async def _read_line(self) -> str | None:
        """The next line of dnsmasq's log, taken note of; None at its end."""
        if self._process is None or self._process.stderr is None:
            return None
        raw = await self._process.stderr.readline()
        if not raw:
            return None
        line = raw.decode(errors="replace").strip()
        self._last_lines.append(line)
        if request := _REQUEST.search(line):
            self._seen[request[1]] = self._clock()
            self._seen.move_to_end(request[1])
            if len(self._seen) > _REMEMBERED_MACS:
                self._seen.popitem(last=False)
        elif f"read {self._settings.hosts_file}" in line:
            self._hosts_read.set()
        return line

    def _words(self) -> str:
        return " / ".join(self._last_lines) or "it says nothing"

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_LIMIT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _end_left_over(settings: DnsmasqSettings) -> None:
    """End the dnsmasq of a provisioner that was killed: it holds the DHCP port."""
    pid = _left_over(settings)
    if pid is None:
        return
    handle = os.pidfd_open(pid)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        async with asyncio.timeout(_STOP_LIMIT_S):
            await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def _left_over(settings: DnsmasqSettings) -> int | None:
    try:
        pid = int(settings.pid_file.read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    ours = f"--conf-file={settings.configuration_file}".encode() in arguments
    return pid if ours else None  # else the number is another process's by now
