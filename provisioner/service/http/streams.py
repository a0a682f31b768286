"""Server-sent events (WHATWG HTML, section 9.2) from changes in the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel

from provisioner.service.context import services_of
from provisioner.store.database import DatabaseUnavailable

_M = TypeVar("_M", bound=BaseModel)
_QUIET_S = 15.0
"""After this long without an event a comment is sent, so that a lost client is noticed."""


_IsValid = Callable[[], Awaitable[bool]]
_IS_VALID = web.RequestKey[_IsValid]("credentials_are_valid", Callable)  # type: ignore[arg-type]
"""Where a request keeps the check of its caller's credentials."""


def end_stream_unless(request: web.Request, is_valid: _IsValid) -> None:
    """End a stream of this request soon after `is_valid` has become false."""
    request[_IS_VALID] = is_valid


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """`data` is JSON on one line; a client resumes after the event by naming its `id`."""

    name: str
    data: str
    id: str = ""

    def encode(self) -> bytes:
        head = f"id: {self.id}\n" if self.id else ""
        return f"{head}event: {self.name}\ndata: {self.data}\n\n".encode()


async def send_events(
    request: web.Request, events: AsyncIterator[ServerSentEvent | None]
) -> web.StreamResponse:
    """Send events until they end, the client disconnects, or its credentials end; None means a
    poll without news."""
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    await response.prepare(request)
    loop = asyncio.get_running_loop()
    sent_at = checked_at = loop.time()
    is_valid = request.get(_IS_VALID)
    recheck_s = services_of(request).credentials_poll_s
    try:
        await response.write(b"retry: 2000\n\n")
        async for event in events:
            if is_valid is not None and loop.time() - checked_at >= recheck_s:
                if not await is_valid():
                    break
                checked_at = loop.time()
            if event is None and loop.time() - sent_at < _QUIET_S:
                continue
            await response.write(event.encode() if event else b": quiet\n\n")
            sent_at = loop.time()
    except ConnectionResetError:
        return response  # the client disconnected
    except DatabaseUnavailable:
        pass  # the client reconnects and resumes
    await response.write_eof()
    return response


async def send_changes(
    request: web.Request,
    name: str,
    read: Callable[[], Awaitable[_M]],
    *,
    over: Callable[[_M], bool],
    poll_s: float,
) -> web.StreamResponse:
    """Send what `read` returns whenever it has changed, until it is over.

    What the first `read` raises is raised before anything is sent.
    """
    first = await read()

    async def events() -> AsyncIterator[ServerSentEvent | None]:
        view, last = first, ""
        while True:
            data = view.model_dump_json(by_alias=True)
            yield ServerSentEvent(name, data) if data != last else None
            last = data
            if over(view):
                return
            await asyncio.sleep(poll_s)
            view = await read()

    return await send_events(request, events())
