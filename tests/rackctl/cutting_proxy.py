"""A TCP proxy that cuts event streams after an event, as often as it is told."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

_END = b"\n\n"


class CuttingProxy:
    """Forwards to `port` of loopback, cutting the first `cuts` streams.

    They end abruptly after their first event named `behind`. `on_stream` receives the number of
    each stream that is opened, before it is forwarded.
    """

    def __init__(
        self,
        port: int,
        *,
        cuts: int,
        on_stream: Callable[[int], Awaitable[None]],
        behind: str = "log",
    ) -> None:
        self._behind = f"event: {behind}\n".encode()
        self._target = port
        self._cuts = cuts
        self._on_stream = on_stream
        self.requests: list[str] = []
        self._server: asyncio.Server | None = None

    @property
    def streams(self) -> list[str]:
        return [request for request in self.requests if "/events" in request]

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            # One request per connection, so that each can be identified.
            head = await client.readuntil(b"\r\n\r\n")
            self.requests.append(head.decode())
            cut = False
            if "/events" in self.requests[-1]:
                number = len(self.streams)
                cut = number <= self._cuts
                await self._on_stream(number)
            upstream, request = await asyncio.open_connection("127.0.0.1", self._target)
            request.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await self._forward(upstream, answer, cut)
            request.close()
        answer.close()

    async def _forward(
        self, upstream: asyncio.StreamReader, answer: asyncio.StreamWriter, cut: bool
    ) -> None:
        passed = b""
        while data := await upstream.read(65536):
            passed += data
            start = passed.find(self._behind)
            if cut and start >= 0 and (end := passed.find(_END, start)) >= 0:
                keep = len(data) - (len(passed) - end - len(_END))
                answer.write(data[:keep])
                await answer.drain()
                return
            answer.write(data)
            await answer.drain()
