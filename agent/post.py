"""HTTP requests with JSON over a plain socket.

Importing the standard HTTP client would take half of the agent's memory and a second of the
ramdisk's boot. Callers retry.
"""

from __future__ import annotations

import socket
from typing import NamedTuple

TIMEOUT_S = 15.0
_LARGEST = 1 << 20
_LONGEST_LINE = 1 << 16
_NO_CONTENT = 204


class PostError(Exception):
    """No usable answer; the text says from where and why. Try again later."""


class StatusError(PostError):
    """An answer other than 2xx: its `status`, and the provisioner's explanation in `body`."""

    def __init__(self, url: str, status: int, body: bytes) -> None:
        super().__init__(f"{url} answered {status}: {body[:500].decode(errors='replace')}")
        self.status = status
        self.body = body


def post(url: str, body: str, *, token: str | None = None, timeout: float = TIMEOUT_S) -> bytes:
    """POST JSON to an http or https address and return the answer's body.

    Raises `StatusError` for a status outside 2xx and `PostError` if there is no answer.
    """
    connection = Connection()
    try:
        return connection.post(url, body, token=token, timeout=timeout)
    finally:
        connection.close()


class Connection:
    """A connection kept open between exchanges, for one thread.

    Opening one costs both sides as much as a report, and several times as much with https.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._origin = ""

    def post(
        self, url: str, body: str, *, token: str | None = None, timeout: float = TIMEOUT_S
    ) -> bytes:
        """POST as the module's `post` does, on this connection."""
        return self._request("POST", url, body.encode(), token, timeout)

    def get(self, url: str, *, token: str | None = None, timeout: float = TIMEOUT_S) -> bytes:
        """GET a body, empty if there is no news; raises as `post` does."""
        return self._request("GET", url, b"", token, timeout)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _request(
        self, method: str, url: str, content: bytes, token: str | None, timeout: float
    ) -> bytes:
        """Use HTTP/1.0, whose answers are never chunked, with the keep-alive extension."""
        scheme, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        head = [f"{method} /{path} HTTP/1.0", f"Host: {host}"]
        head += ["Accept: application/json", "Connection: keep-alive"]
        if content:
            head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        if token:
            head.append(f"Authorization: Bearer {token}")
        request = "\r\n".join([*head, "", ""]).encode() + content
        try:
            answer = self._exchange(f"{scheme}://{host}", request, timeout)
        except (OSError, ValueError) as error:  # ValueError: the port is not a number
            self.close()
            raise PostError(f"{url}: {error}") from error
        if not 200 <= answer.status < 300:
            raise StatusError(url, answer.status, answer.body)
        return answer.body

    def _exchange(self, origin: str, request: bytes, timeout: float) -> _Answer:
        if self._socket is not None and self._origin == origin:
            try:
                return self._ask(self._socket, request, timeout)
            except ConnectionError:
                pass  # closed by the other side in the meantime, as it may be at any time
        self.close()
        self._socket, self._origin = _connect(origin, timeout), origin
        return self._ask(self._socket, request, timeout)

    def _ask(self, connection: socket.socket, request: bytes, timeout: float) -> _Answer:
        connection.settimeout(timeout)
        connection.sendall(request)
        answer = _read(connection)
        if not answer.keeps:
            self.close()
        return answer


class _Answer(NamedTuple):
    status: int
    body: bytes
    keeps: bool
    """Whether the connection may be used again."""


def _connect(origin: str, timeout: float) -> socket.socket:
    scheme, _, host = origin.partition("://")
    name, port = address(scheme, host)
    plain = socket.create_connection((name, port), timeout)
    if scheme != "https":
        return plain
    import ssl  # noqa: PLC0415  # 5 MB, and most machines of a rack speak http

    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=name)
    except OSError:
        plain.close()
        raise


def _read(connection: socket.socket) -> _Answer:
    """Read an answer. Raises `ConnectionError` if none came, `ValueError` if it is incomplete."""
    with connection.makefile("rb") as stream:
        first = stream.readline(_LONGEST_LINE)
        if not first:
            raise ConnectionError("the connection ended without an answer")
        words = first.split()
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            raise ValueError(f"not an HTTP answer: {first[:80]!r}")
        headers: dict[bytes, bytes] = {}
        while line := stream.readline(_LONGEST_LINE).strip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip().lower()
        status = int(words[1])
        stated = b"0" if status == _NO_CONTENT else headers.get(b"content-length")
        length = _LARGEST + 1 if stated is None else int(stated)
        body = stream.read(min(length, _LARGEST + 1))
    if len(body) > _LARGEST:
        raise ValueError(f"answer of more than {_LARGEST} bytes")
    if stated is not None and len(body) < length:
        raise ValueError("the connection broke off within the answer")
    keeps = stated is not None and headers.get(b"connection") == b"keep-alive"
    return _Answer(status, body, keeps)


def address(scheme: str, host: str) -> tuple[str, int]:
    """Split an address's host part into name and port. Raises `ValueError` for a bad port."""
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):  # no port; the last colon of [fd77::1] does not start one
        name, port = host, "443" if scheme == "https" else "80"
    return name.strip("[]"), int(port)
