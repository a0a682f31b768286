"""Connections: how many there may be, and how long each may take to send a request.

aiohttp waits for ever for the rest of a head or of a body, and accepts as many connections as come.
"""

import asyncio
import socket
from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestHandler

from provisioner.service.http.client_address import Networks, is_within, parse_address, source
from provisioner.service.http.problems import Answer, answer

_SWEEP_S = 1.0
_FAREWELL_S = 2.0
"""How long a connection that is refused may take to read why."""
_MOST_FAREWELLS = 64
"""Beyond as many that still read why, connections are refused without a word."""
_STALLED_MS = 60_000
"""When a client reads nothing of its answer for so long, the kernel ends the connection."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    at_once: int = 1 << 20
    """Never more than the limit on open files leaves."""
    per_address: int = 1024
    """From one IPv4 address or IPv6 /64."""
    proxies: Networks = ()
    """Connections from here are of many clients, so only `at_once` limits them."""
    head_s: float = 10.0
    """For all headers of a request, from its first byte on."""
    body_s: float = 20.0
    """For a body; `body_rate` gives longer ones more time."""
    body_rate: int = 4096
    """Bytes per second."""


class LimitedServer(web.Server):
    """Admits connections, and once a second ends those that are overdue."""

    def __init__(self, plain: web.Server, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(plain.request_handler, request_factory=plain.request_factory, **options)
        self.limits = limits
        self._options = options
        self._admitted: set[Connection] = set()
        self._refused: set[Connection] = set()
        self._by_source: Counter[str] = Counter()
        self._swept_at = self._loop.time()
        self._timer = self._loop.call_later(_SWEEP_S, self._sweep_again)

    def __call__(self) -> "Connection":
        return Connection(self, loop=self._loop, **self._options)

    def admit(self, connection: "Connection") -> Answer | None:
        """Count a new connection. Returns why it is refused, or None."""
        if len(self._admitted) >= self.limits.at_once:
            refusal = _refusal(503, "overloaded", "the service has too many connections")
        elif self._by_source[connection.source] >= self.limits.per_address:
            refusal = _refusal(
                429, "too_many_connections", "there are too many connections from this address"
            )
        else:
            self._admitted.add(connection)
            if connection.source:
                self._by_source[connection.source] += 1
            return None
        self._refused.add(connection)
        return refusal

    @property
    def is_crowded(self) -> bool:
        return len(self._refused) > _MOST_FAREWELLS

    def forget(self, connection: "Connection") -> None:
        self._refused.discard(connection)
        if connection in self._admitted:
            self._admitted.remove(connection)
            self._by_source[connection.source] -= 1
            if self._by_source[connection.source] <= 0:
                del self._by_source[connection.source]

    def sweep(self, now: float) -> None:
        """End every connection that is overdue at `now` of the loop's time."""
        passed, self._swept_at = now - self._swept_at, now
        for connection in [*self._admitted, *self._refused]:
            connection.check(now, passed)

    def _sweep_again(self) -> None:
        self._timer = self._loop.call_later(_SWEEP_S, self._sweep_again)
        self.sweep(self._loop.time())

    async def shutdown(self, timeout: float | None = None) -> None:
        self._timer.cancel()
        for connection in list(self._refused):
            connection.force_close()
        await super().shutdown(timeout)


class BodyTooSlow(web.RequestPayloadError):
    """A body that arrives too slowly; raised where it is read."""


class Connection(RequestHandler):
    """One connection, and since when it owes the rest of a head or of a body."""

    def __init__(self, server: LimitedServer, **options: Any) -> None:
        super().__init__(server, **options)
        self.source = ""
        self._server = server
        self._is_refused = False
        self._owes_since = inf
        """When what is owed began; infinity while nothing is."""
        self._body: StreamReader | None = None
        """The body that is owed; None while a head is."""
        self._arrived = 0
        """Bytes of what is owed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        self._set_options(transport)
        self._owes_since = self._loop.time()
        refusal = self._server.admit(self)
        if refusal is None:
            super().connection_made(transport)
            return
        self._is_refused = True
        self.transport = transport
        if self._server.is_crowded:
            transport.abort()
            return
        transport.write(_raw(refusal))
        # Closing at once would reset the connection, and the client would not see the answer.
        transport.write_eof()

    def _set_options(self, transport: asyncio.Transport) -> None:
        peer = transport.get_extra_info("peername")
        if not isinstance(peer, tuple):
            return  # a Unix socket
        address = parse_address(peer[0])
        if not is_within(address, self._server.limits.proxies):
            self.source = source(address)
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        heads = self._request_count
        super().data_received(data)
        if self._request_count > heads:
            _, body = self._messages[-1]
            self._body, self._owes_since, self._arrived = body, self._loop.time(), 0
        elif self._owes_since == inf and data:
            self._body, self._owes_since, self._arrived = None, self._loop.time(), 0
        self._arrived += len(data)
        if self._body is not None and self._body.is_eof():
            self._body, self._owes_since = None, inf

    def check(self, now: float, passed: float) -> None:
        """End the connection if it is overdue; `passed` is the time since the last check."""
        if self._is_refused:
            if now - self._owes_since > _FAREWELL_S:
                self.force_close()
        elif self._body is None:
            self._check_head(now, passed)
        else:
            self._check_body(self._body, now, passed)

    def _check_head(self, now: float, passed: float) -> None:
        if self._current_request is not None:
            self._owes_since += passed  # an earlier request is not answered yet
        elif now - self._owes_since > self._server.limits.head_s:
            if self._arrived and self.transport is not None:
                self.transport.write(_raw(_too_slow("headers")))
            self.force_close()

    def _check_body(self, body: StreamReader, now: float, passed: float) -> None:
        limits = self._server.limits
        if self._reading_paused or self._buffer_paused:
            self._owes_since += passed  # it waits for us
        if now - self._owes_since <= limits.body_s + self._arrived / limits.body_rate:
            return
        if self._current_request is None:
            self.force_close()
        elif body._waiter is not None:  # somebody reads it: they answer
            body.set_exception(BodyTooSlow("the body arrives too slowly"))


def _refusal(status: int, code: str, detail: str) -> Answer:
    return answer(
        status,
        code,
        detail,
        next_action="close connections that are not needed, or try again later",
        headers={"Retry-After": "10"},
    )


def _too_slow(what: str) -> Answer:
    return answer(
        408,
        "too_slow",
        f"the {what} of the request arrive too slowly",
        next_action="send the whole request at once",
    )


def _raw(refusal: Answer) -> bytes:
    """A whole HTTP answer, for a connection whose request is not known."""
    sent = refusal.as_json()
    body = sent.text.encode() if sent.text else b""
    headers = {
        **refusal.headers,
        "Content-Type": sent.content_type,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {sent.status} {sent.reason}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
