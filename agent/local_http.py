"""A minimal HTTP server for programs on this machine alone; callers decide what is answered.

The standard HTTP server would take a third of the agent's memory. Each connection has a thread and
a time limit; when all places are taken, the client that has been silent longest loses its own.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

LIMIT = 32
"""Connections at once."""
LIMIT_S = 5.0
"""For a whole request, and again for its answer."""
_PAUSE_S = 1.0
_LARGEST_REQUEST = 8192
_log = logging.getLogger("agent")
_REASONS = {
    200: "OK",
    202: "Accepted",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    502: "Bad Gateway",
}


class Request(NamedTuple):
    """A request without its body, which is not read. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    peer: tuple[str, int]


class Answer(NamedTuple):
    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"

    def encode(self) -> bytes:
        body = self.body.encode()
        head = [
            f"HTTP/1.0 {self.status} {_REASONS[self.status]}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
        ]
        return "\r\n".join([*head, "", ""]).encode() + body


def listen(address: str, port: int) -> socket.socket:
    """Listen to this machine alone. Raises `OSError`.

    A local address is not enough: a neighbour can route it to this machine, whose kernel takes it
    on any interface (127.0.0.0/8 too, once `route_localnet` is set). Bound to `lo`, the kernel
    refuses such a connection.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        listener.bind((address, port))
        listener.listen(LIMIT)
    except OSError:
        listener.close()
        raise
    return listener


def serve(
    listener: socket.socket, answer: Callable[[Request], Answer], limit_s: float = LIMIT_S
) -> None:
    """Answer requests for ever. `answer` is called from several threads."""
    connections = _Connections(answer, limit_s)
    with listener:
        while True:
            try:
                connection, peer = listener.accept()
            except OSError as error:  # such as: too many open files
                _log.warning("%s: %s", listener.getsockname(), error)
                time.sleep(_PAUSE_S)
                continue
            connections.start(connection, peer[:2])


class _Connections:
    """The open connections, of which those whose request is not complete may be given up."""

    def __init__(self, answer: Callable[[Request], Answer], limit_s: float) -> None:
        self._answer = answer
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._places = threading.Semaphore(LIMIT)
        self._waiting: dict[socket.socket, None] = {}
        """Those without a complete request, the oldest first."""

    def start(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        if not self._places.acquire(blocking=False):
            self._give_up_oldest()
            self._places.acquire()  # within the time limits at the latest
        with self._lock:
            self._waiting[connection] = None
        try:
            threading.Thread(target=self._serve, args=(connection, peer), daemon=True).start()
        except RuntimeError as error:  # no more threads
            _log.warning("a local request is dropped: %s", error)
            self._end(connection)

    def _give_up_oldest(self) -> None:
        with self._lock:
            for oldest in self._waiting:
                del self._waiting[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread then reads the end
                return

    def _serve(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        try:
            request = _request(connection, peer, time.monotonic() + self._limit_s)
            with self._lock:
                self._waiting.pop(connection, None)
            if request is not None:
                answered = self._answered(request)
                connection.settimeout(self._limit_s)
                connection.sendall(answered.encode())
        except OSError:
            pass  # the client is gone, or too slow
        finally:
            self._end(connection)

    def _answered(self, request: Request) -> Answer:
        try:
            return self._answer(request)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path[:100])
            return Answer(500, "The agent failed; see its journal.\n")

    def _end(self, connection: socket.socket) -> None:
        with self._lock:
            self._waiting.pop(connection, None)
            connection.close()
        self._places.release()


def _request(connection: socket.socket, peer: tuple[str, int], until: float) -> Request | None:
    """Read a request; None if it is not HTTP. Raises `OSError`, also when the time is over."""
    received = b""
    while b"\r\n\r\n" not in received:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        block = connection.recv(_LARGEST_REQUEST)
        received += block
        if not block or len(received) > _LARGEST_REQUEST:
            return None
    line, *lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = line.split(" ")
    if len(words) != 3:
        return None
    pairs = (header.partition(":") for header in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Request(words[0], words[1], headers, peer)
