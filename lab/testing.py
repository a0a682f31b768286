"""For tests on the virtual rack: a fresh rack, a reader of consoles, a NIC on a switch port.

Tests are skipped where no rack can run (no root, programs missing), with the reason.
"""

from __future__ import annotations

import errno
import os
import re
import select
import shutil
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest

from lab.rack import Rack
from lab.rack.namespaces import fabric, open_tap

PROGRAMS = ("qemu-system-x86_64", "ipmi_sim", "ovs-vswitchd", "ip", "ethtool", "setpriv")

_BROADCAST = b"\xff" * 6


@contextmanager
def rack(servers: int, name: str = "iltest", **options: Any) -> Iterator[Rack]:
    """Yield a fresh rack, taken down at the end; `options` are those of Rack.up.

    In a conftest: `@pytest.fixture(scope="session")` over `with rack(2) as it: yield it`.
    """
    if os.geteuid() != 0:
        pytest.skip("a rack needs root")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"a rack needs {', '.join(missing)}; `make system` installs them")
    Rack.down(name)
    with Rack.up(name, servers, **options) as it:
        yield it


class ConsoleReader:
    """Follows one server's serial console from the moment it is opened."""

    def __init__(self, rack: Rack, server: str) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(str(rack.plan.console_socket(server)))
        self._unread = b""

    def expect(self, pattern: str, timeout: float = 60) -> str:
        """Read on to the first match of `pattern` and return it.

        Raises AssertionError with what was read if it does not come within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while (match := re.search(pattern.encode(), self._unread)) is None:
            self._line.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._line.recv(65536)
            except TimeoutError:
                data = b""
            if not data:
                raise AssertionError(f"{pattern!r} did not come; console: {self._unread!r}")
            self._unread += data
        self._unread = self._unread[match.end() :]
        return match[0].decode()

    def type(self, text: str) -> None:
        self._line.sendall(text.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()


class PortNic:
    """A NIC of the test's own on a server's switch port, while the server is off."""

    def __init__(self, rack: Rack, server: str) -> None:
        plan = rack.plan.server(server)
        self.mac = bytes.fromhex(plan.mac.replace(":", ""))
        self._address = plan.address
        self._tap = open_tap(fabric(rack.name), plan.name)

    def reaches(self, address: str, timeout: float = 10) -> bool:
        """Whether an ARP request for `address` is answered within `timeout` seconds."""
        wanted = socket.inet_aton(address)
        request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
        request += self.mac + socket.inet_aton(self._address) + bytes(6) + wanted
        frame = _BROADCAST + self.mac + b"\x08\x06" + request
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                os.write(self._tap, frame.ljust(60, b"\0"))
            except OSError as error:
                if error.errno != errno.EIO:  # the port is shut
                    raise
                return False
            while select.select([self._tap], [], [], min(left, 0.3))[0]:
                answer = os.read(self._tap, 2048)
                if answer[12:14] == b"\x08\x06" and answer[20:22] == b"\0\2":
                    return answer[28:32] == wanted
                left = deadline - time.monotonic()
        return False

    def hears(self, payload: bytes, timeout: float = 10) -> bool:
        """Whether a frame containing `payload` arrives within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._tap], [], [], left)[0] and payload in os.read(self._tap, 2048):
                return True
        return False

    def send_udp(self, port: int, payload: bytes, to: bytes = _BROADCAST) -> None:
        """Send one UDP datagram to a NIC; by default to all, as a DHCP client does."""
        datagram = struct.pack("!HHHH", 68, port, 8 + len(payload), 0) + payload
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0)
        header += bytes(4) + b"\xff" * 4
        total = sum(struct.unpack("!10H", header))
        checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        header = header[:10] + struct.pack("!H", checksum) + header[12:]
        os.write(self._tap, to + self.mac + b"\x08\x00" + header + datagram)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._tap)
