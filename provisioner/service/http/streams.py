"""Server-sent events (WHATWG HTML, section 9.2) from what the database says as time goes on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from provisioner.store.database import DatabaseUnavailable

_QUIET_S = 15.0
"""A comment is sent after so long without an event, so that a lost client is noticed."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """`data` is JSON on one line; `id` is what a client names to go on after it."""

    name: str
    data: str
    id: str = ""

    def encode(self) -> bytes:
        head = f"id: {self.id}\n" if self.id else ""
        return f"{head}event: {self.name}\ndata: {self.data}\n\n".encode()


async def send_events(
    request: web.Request, events: AsyncIterator[ServerSentEvent | None]
) -> web.StreamResponse:
    """Send events until there are no more or the client goes; None is a look without news."""
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    await response.prepare(request)
    loop = asyncio.get_running_loop()
    sent_at = loop.time()
    try:
        await response.write(b"retry: 2000\n\n")
        async for event in events:
            if event is None and loop.time() - sent_at < _QUIET_S:
                continue
            await response.write(event.encode() if event else b": quiet\n\n")
            sent_at = loop.time()
    except ConnectionResetError:
        return response  # the client went: nobody is left to tell
    except DatabaseUnavailable:
        pass  # the client asks again where it stands
    await response.write_eof()
    return response
