"""GET over one persistent connection: just enough to fetch an image.

Used instead of `http.client` or curl because starting those takes as long as fetching tens of
megabytes on a slow server. Responses need a Content-Length, which files have.
"""

from __future__ import annotations

import socket

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from io import BufferedReader


class FetchFailed(Exception):
    """The response was not 200, or the connection broke."""


class NotThere(FetchFailed):
    """The response was 404: a retry would not help."""


class Connection:
    """To the server of one `http://` or `https://` URL; connects, and reconnects, on demand."""

    TIMEOUT_S = 30

    def __init__(self, base_url: str, token: str = "") -> None:
        scheme, _, rest = base_url.partition("://")
        self.authority, _, self.path = rest.partition("/")
        host, _, port = self.authority.rpartition(":")
        if not port.isdigit():
            host, port = self.authority, "443" if scheme == "https" else "80"
        self.address = host.strip("[]"), int(port)
        self.secure = scheme == "https"
        self.identity = f"Authorization: Bearer {token}\r\n" if token else ""
        self.socket: socket.socket | None = None
        self.stream: BufferedReader

    def get(self, path: str) -> bytearray:
        """The body of `base_url/path`. Raises FetchFailed."""
        try:
            return self._get(path)
        except (OSError, ValueError, KeyError) as error:
            self.close()
            raise FetchFailed(str(error) or type(error).__name__) from error

    def _get(self, path: str) -> bytearray:
        if self.socket is None:
            self.socket = self._connect()
            self.stream = self.socket.makefile("rb")
        target = f"/{self.path}/{path}"
        self.socket.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {self.authority}\r\n{self.identity}\r\n".encode(
                "ascii"
            )
        )
        status = self.stream.readline(1024).split(b" ", 2)
        if len(status) < 2 or not status[0].startswith(b"HTTP/1."):
            raise OSError("the connection was closed")
        headers = {}
        while line := self.stream.readline(8192).strip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        body = bytearray(int(headers[b"content-length"]))
        self._fill(memoryview(body))
        if headers.get(b"connection", b"").lower() == b"close":
            self.close()
        if status[1] == b"404":
            raise NotThere(f"{target} answered 404")
        if status[1] != b"200":
            raise OSError(f"{target} answered {status[1].decode()}")
        return body

    def _fill(self, view: memoryview) -> None:
        got = 0
        while got < len(view):
            count = self.stream.readinto(view[got:])
            if not count:
                raise OSError("the connection was closed")
            got += count

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self.address, self.TIMEOUT_S)
        if self.secure:
            import ssl  # noqa: PLC0415  slow to import, so only where needed

            context = ssl.create_default_context()
            return context.wrap_socket(connection, server_hostname=self.address[0])
        return connection

    def close(self) -> None:
        if self.socket is not None:
            self.stream.close()
            self.socket.close()
            self.socket = None
