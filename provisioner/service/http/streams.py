"""Server-sent events (WHATWG HTML, section 9.2) from changes in the database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel

from provisioner.service.context import services_of
from provisioner.service.http.client_address import client_address, source
from provisioner.service.http.problems import HttpError
from provisioner.store.database import DatabaseUnavailable

_M = TypeVar("_M", bound=BaseModel)
_QUIET_S = 15.0
"""After this long without an event a comment is sent, so that a lost client is noticed."""
_AT_FULL_PACE = 50
"""With more streams open, each polls the less often: all of them together cost the same."""


@dataclass(slots=True)
class OpenStreams:
    """The open event streams of this process, and how many there may be."""

    per_account: int = 32
    per_address: int = 128
    _by_account: Counter[str] = field(default_factory=Counter)
    _by_address: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def opened(self, account_id: str, address: str) -> Iterator[None]:
        """Count a stream while it is open. Raises :class:`HttpError` (429) if it is too many."""
        counts = ((self._by_account, account_id), (self._by_address, address))
        if self._by_account[account_id] >= self.per_account:
            raise _too_many("of this account")
        if address and self._by_address[address] >= self.per_address:
            raise _too_many("from this address")
        for counter, key in counts:
            counter[key] += 1
        try:
            yield
        finally:
            for counter, key in counts:
                counter[key] -= 1
                if not counter[key]:
                    del counter[key]

    def pause(self, poll_s: float) -> float:
        """How long a stream waits between two polls."""
        return poll_s * max(1.0, self._by_account.total() / _AT_FULL_PACE)


STREAMS = web.AppKey("streams", OpenStreams)


def _too_many(whose: str) -> HttpError:
    return HttpError(
        429,
        "too_many_streams",
        f"too many event streams {whose} are open",
        next_action="close some of them, or poll",
        headers={"Retry-After": "30"},
    )


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
    request: web.Request, account_id: str, events: AsyncIterator[ServerSentEvent | None]
) -> web.StreamResponse:
    """Send events until they end or the client disconnects; None means a poll without news.

    Raises :class:`HttpError` (429) if the account or its address has too many streams open.
    """
    address = source(client_address(request))
    with request.app[STREAMS].opened(account_id, address):
        return await _send(request, events)


async def _send(
    request: web.Request, events: AsyncIterator[ServerSentEvent | None]
) -> web.StreamResponse:
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
            if request.transport is None:
                return response  # the client disconnected
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
    account_id: str,
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
            await asyncio.sleep(request.app[STREAMS].pause(poll_s))
            view = await read()

    return await send_events(request, account_id, events())
