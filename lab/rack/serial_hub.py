"""The serial line of one server: outlives power cycles, keeps the output, has many readers.

The machine is attached again at every start. Readers are the BMC (serial over LAN) and people
(`python -m lab console`); whatever any of them types reaches the machine.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

SOL_PORT = 9005
_CHUNK = 65536
_SLOW_READER = 1 << 20
_LOG_LIMIT = 16 << 20


class SerialHub:
    def __init__(self, log: Path) -> None:
        self._path = log
        self._log = log.open("ab", buffering=0)
        self._readers: set[asyncio.StreamWriter] = set()
        self._machine: asyncio.StreamWriter | None = None
        self._servers: list[asyncio.Server] = []

    async def listen(self, sol_address: str, console_socket: Path) -> None:
        """Accept the BMC on `sol_address` and people on `console_socket`."""
        self._servers = [
            await asyncio.start_server(self._serve, sol_address, SOL_PORT),
            await asyncio.start_unix_server(self._serve, console_socket),
        ]

    async def attach(self, line: socket.socket) -> asyncio.Task[None]:
        """Connect a machine's serial port; the task ends when all its output has been passed on."""
        reader, writer = await asyncio.open_unix_connection(sock=line)
        self._machine = writer
        return asyncio.create_task(self._pass_on(reader, writer))

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for writer in self._readers:
            writer.close()
        self._log.close()

    async def _pass_on(self, machine: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await machine.read(_CHUNK):
                self._keep(data)
                for reader in self._readers:
                    # A stalled reader (a hung BMC) loses output; it never blocks others.
                    if reader.transport.get_write_buffer_size() < _SLOW_READER:
                        reader.write(data)
        except ConnectionError:
            pass  # the machine was killed: the same as a closed port
        finally:
            writer.close()
            if self._machine is writer:
                self._machine = None

    def _keep(self, data: bytes) -> None:
        if self._log.tell() > _LOG_LIMIT:
            kept = self._path.read_bytes()[-_LOG_LIMIT // 2 :]
            self._log.truncate(0)
            self._log.write(kept)
        self._log.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._readers.add(writer)
        try:
            while data := await reader.read(_CHUNK):
                if self._machine is not None:
                    self._machine.write(data)
        except ConnectionError:
            pass  # the reader disconnected, as readers do
        finally:
            self._readers.discard(writer)
            writer.close()
