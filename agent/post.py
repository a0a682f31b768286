"""One HTTP request with JSON, over a plain socket: importing the standard HTTP client would take
half of the agent's memory and a second of a ramdisk's boot. Retrying is left to the callers.
"""

from __future__ import annotations

import socket

TIMEOUT_S = 15.0
_LARGEST = 1 << 20


class PostError(Exception):
    """No usable answer; the text says from where and why. Trying again later is the way on."""


class StatusError(PostError):
    """An answer other than 2xx: `status`, and in `body` what the provisioner says about it."""

    def __init__(self, url: str, status: int, body: bytes) -> None:
        super().__init__(f"{url} answered {status}: {body[:500].decode(errors='replace')}")
        self.status = status
        self.body = body


def post(url: str, body: str, *, token: str | None = None, timeout: float = TIMEOUT_S) -> bytes:
    """POST JSON to an http or https address and return the answer's body.

    Raises `StatusError` for a status outside 2xx and `PostError` when there is no answer.
    """
    return _request("POST", url, body.encode(), token, timeout)


def get(url: str, *, token: str | None = None, timeout: float = TIMEOUT_S) -> bytes:
    """The body of what is there, empty when there is nothing to say; raises as `post` does."""
    return _request("GET", url, b"", token, timeout)


def _request(method: str, url: str, content: bytes, token: str | None, timeout: float) -> bytes:
    """By HTTP/1.0: the answer ends with the connection and is never chunked (RFC 1945)."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    head = [f"{method} /{path} HTTP/1.0", f"Host: {host}", "Accept: application/json"]
    if content:
        head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    if token:
        head.append(f"Authorization: Bearer {token}")
    request = "\r\n".join([*head, "", ""]).encode() + content
    try:
        answer = _exchange(scheme, host, request, timeout)
    except (OSError, ValueError) as error:  # ValueError: a port that is no number
        raise PostError(f"{url}: {error}") from error
    status, received = _parse(url, answer)
    if not 200 <= status < 300:
        raise StatusError(url, status, received)
    return received


def _exchange(scheme: str, host: str, request: bytes, timeout: float) -> bytes:
    name, port = address(scheme, host)
    with socket.create_connection((name, port), timeout) as plain:
        connection = plain
        if scheme == "https":
            import ssl  # noqa: PLC0415  # 5 MB, and most machines of a rack speak http

            connection = ssl.create_default_context().wrap_socket(plain, server_hostname=name)
        with connection:
            connection.sendall(request)
            answer = bytearray()
            while block := connection.recv(65536):
                answer += block
                if len(answer) > _LARGEST:
                    raise ValueError(f"answer of more than {_LARGEST} bytes")
    return bytes(answer)


def address(scheme: str, host: str) -> tuple[str, int]:
    """Name and port of an address's host part; `ValueError` when its port is no number."""
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):  # no port; the last colon of [fd77::1] is no port's
        name, port = host, "443" if scheme == "https" else "80"
    return name.strip("[]"), int(port)


def _parse(url: str, answer: bytes) -> tuple[int, bytes]:
    head, found, body = answer.partition(b"\r\n\r\n")
    status_line, *headers = head.decode("latin-1").split("\r\n")
    words = status_line.split()
    if not found or len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise PostError(f"{url}: not an HTTP answer: {answer[:80]!r}")
    for header in headers:
        name, _, value = header.partition(":")
        if name.lower() == "content-length" and value.strip() != str(len(body)):
            raise PostError(f"{url}: the connection broke off within the answer")
    return int(words[1]), body
