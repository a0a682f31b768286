"""Serves the lease to the customer's programs, on the link-local address clouds use for metadata.

They can see when the lease ends and whether that is near, and can return the server early.
"""

from __future__ import annotations

import collections
import json
import logging
import os
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from agent import local_http
from agent.lease import Lease
from agent.local_http import Answer, Request
from agent.notices import announced
from agent.post import PostError
from agent.times import iso

ADDRESS = "169.254.169.254"
PORT = 80
_ROOT = "/ironlease/v1"
_TOKEN = "x-ironlease-token"  # noqa: S105
_TOKEN_LASTS_S = 300.0
_SOCKETS = Path("/proc/net/tcp")
_log = logging.getLogger("agent")


def listen() -> socket.socket:
    """Listen on the link-local address, which is added to `lo`. Raises `OSError`."""
    command = ["ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo", "scope", "host"]
    subprocess.run(command, check=False, stdin=subprocess.DEVNULL, timeout=10)
    return local_http.listen(ADDRESS, PORT)


def run(lease: Lease, release: Callable[[], None], now: Callable[[], float]) -> None:
    """Answer for ever. If something else has the address, it is left alone."""
    try:
        listener = listen()
    except (OSError, subprocess.TimeoutExpired) as error:
        _log.warning("no metadata on %s:%d: %s", ADDRESS, PORT, error)
        return
    local_http.serve(listener, Metadata(lease, release, now).answer)


class Metadata:
    """Answers metadata requests; `release` returns the server and may raise `PostError`."""

    def __init__(
        self,
        lease: Lease,
        release: Callable[[], None],
        now: Callable[[], float],
        *,
        host: str = ADDRESS,
        sockets: Path = _SOCKETS,
    ) -> None:
        self._lease = lease
        self._release = release
        self._now = now
        self._host = host
        self._sockets = sockets
        self._tokens: collections.deque[tuple[str, float]] = collections.deque(maxlen=16)

    def answer(self, request: Request) -> Answer:
        handlers = {
            f"{_ROOT}/lease": ("GET", self._document),
            f"{_ROOT}/lease-action": ("GET", self._action),
            f"{_ROOT}/token": ("PUT", self._new_token),
            f"{_ROOT}/release": ("POST", self._released),
        }
        # Refuse DNS rebinding and proxied requests: both carry another host name.
        if request.headers.get("host", "") not in (self._host, f"{self._host}:{PORT}"):
            return Answer(403, f"Use http://{self._host}/.\n")
        if "x-forwarded-for" in request.headers:
            return Answer(403, "Requests through a proxy are refused.\n")
        if request.path not in handlers:
            return Answer(404, f"Not found. There are: {', '.join(handlers)}.\n")
        method, handler = handlers[request.path]
        if request.method != method:
            return Answer(405, f"Use {method} {request.path}.\n")
        return handler(request)

    def _document(self, request: Request) -> Answer:
        held = self._lease.held
        if held is None:
            return Answer(404, "No lease has been granted.\n")
        return _json(
            {"lease": held.lease, "ends_at": iso(held.not_after), "remaining_s": self._left()}
        )

    def _action(self, request: Request) -> Answer:
        held = self._lease.held
        if held is None or not announced(held):
            return Answer(404, "The lease is not about to end.\n")
        return _json(
            {"action": "terminate", "time": iso(held.not_after), "remaining_s": self._left()}
        )

    def _new_token(self, request: Request) -> Answer:
        token = os.urandom(24).hex()
        self._tokens.append((token, self._now() + _TOKEN_LASTS_S))
        return Answer(200, token)

    def _released(self, request: Request) -> Answer:
        given, now = request.headers.get(_TOKEN, ""), self._now()
        if not any(given == token and now < until for token, until in tuple(self._tokens)):
            return Answer(
                401, f"Get a token with PUT {_ROOT}/token and send it in the header {_TOKEN}.\n"
            )
        if not self._is_root(request.peer):
            return Answer(403, "Only root can return this server.\n")
        try:
            self._release()
        except PostError as error:
            return Answer(502, f"{error}\n")
        return _json({"released": True}, 202)

    def _is_root(self, peer: tuple[str, int]) -> bool:
        """Whether root of this network namespace owns the peer socket, see proc(5)."""
        address, port = peer
        (number,) = struct.unpack("=I", socket.inet_aton(address))
        local = f"{number:08X}:{port:04X}"
        for line in self._sockets.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1] == local:
                return fields[7] == "0"
        return False

    def _left(self) -> int:
        return int(self._lease.remaining_s or 0)


def _json(document: dict[str, object], status: int = 200) -> Answer:
    return Answer(status, json.dumps(document) + "\n", "application/json")
