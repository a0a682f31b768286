"""A minimal HTTP server for programs on this machine, one request at a time.

The standard HTTP server would take a third of the agent's memory. Callers decide what is answered.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NamedTuple

_TIMEOUT_S = 5.0
_LARGEST_REQUEST = 8192
_REASONS = {
    200: "OK",
    202: "Accepted",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
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


def serve(listener: socket.socket, answer: Callable[[Request], Answer]) -> None:
    """Answer requests for ever."""
    with listener:
        while True:
            connection, peer = listener.accept()
            with connection:
                connection.settimeout(_TIMEOUT_S)
                try:
                    request = _request(connection, peer[:2])
                    if request is not None:
                        connection.sendall(answer(request).encode())
                except OSError:
                    continue  # the client is gone, or too slow


def _request(connection: socket.socket, peer: tuple[str, int]) -> Request | None:
    """Read a request; None if it is not HTTP."""
    received = b""
    while b"\r\n\r\n" not in received:
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
