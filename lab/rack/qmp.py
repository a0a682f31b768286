"""A client of one machine's QMP monitor, over a socket that QEMU was started with."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from lab.rack.errors import RackError


class Qmp:
    """Commands go one at a time; the reason of the last SHUTDOWN event is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.shutdown_reason: str | None = None
        self._writer = writer
        self._lock = asyncio.Lock()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read(reader))

    @classmethod
    async def connect(cls, sock: socket.socket) -> Qmp:
        qmp = cls(*await asyncio.open_unix_connection(sock=sock))
        # Sent ahead, not awaited: a machine that dies at once must not delay its power-on.
        qmp._send("qmp_capabilities", {})
        return qmp

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Run one command and return its result.

        Raises RackError if QEMU refuses it or does not answer within 10 s.
        """
        async with self._lock:
            self._send(command, arguments)
            while True:
                try:
                    answer = await asyncio.wait_for(self._answers.get(), 10)
                except TimeoutError:
                    raise RackError(f"QEMU did not answer {command} within 10 s") from None
                if answer.get("id") == command:
                    break
        if "error" in answer:
            raise RackError(f"QEMU refused {command}: {answer['error']['desc']}")
        return answer["return"]

    async def closed(self) -> None:
        """Wait until QEMU has exited and all its output has been read."""
        await self._reading

    def _send(self, command: str, arguments: dict[str, Any]) -> None:
        message = {"execute": command, "arguments": arguments, "id": command}
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if message.get("event") == "SHUTDOWN":
                    self.shutdown_reason = message["data"]["reason"]
                elif "return" in message or "error" in message:
                    self._answers.put_nowait(message)
        except ConnectionError:
            pass  # QEMU was killed: the same as a closed monitor
        finally:
            self._writer.close()
