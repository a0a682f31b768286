"""Serves the application on its own address and on sockets passed by the parent process.

Sockets are passed as systemd does it (sd_listen_fds(3)): LISTEN_PID names this process, LISTEN_FDS
says how many there are from descriptor 3 on. So the service can listen outside of its namespace.
"""

import asyncio
import os
import resource
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from aiohttp import web

from provisioner.service.http.connections import ConnectionLimits, LimitedServer

_FIRST = 3
_GRACE_S = 2.0
"""Time for responses in progress when the service stops; then event streams are cut."""
_KEEP_S = 75.0
"""How long a connection may be idle: longer than several of an agent's report intervals, but
limited, as a machine that loses power leaves its connections behind."""
_BACKLOG = 4096
"""Connections that may wait to be accepted: a rejected one is retried only after a second."""
_ACCEPTS = 64
"""Connections accepted in one go. asyncio fails as often when it is out of descriptors."""
_LINGER_S = 1.0
"""For reading on after an answer that did not want the whole body: a client that is reset while it
still sends does not see the answer."""
_OWN_FILES = 1024
"""Descriptors left to the daemon's own work: plays, SSH, BMCs, the database, files."""


class BadListenFds(Exception):
    """The environment names sockets that do not exist."""


def passed_sockets() -> list[socket.socket]:
    """Return the listening sockets passed to this process, and remove the variables."""
    for_us = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not for_us or not count:
        return []
    try:
        return [_adopt(_FIRST + n) for n in range(int(count))]
    except (ValueError, OSError) as error:
        raise BadListenFds(
            f"LISTEN_FDS={count!r}, and descriptor {_FIRST} onward are not that many sockets: "
            f"{error}; start the service by something that speaks sd_listen_fds(3)"
        ) from error


def _adopt(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    adopted = socket.socket(fileno=descriptor)
    adopted.setblocking(False)
    return adopted


class _Runner(web.AppRunner):
    """Serves an application with limits on its connections."""

    def __init__(self, app: web.Application, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": _KEEP_S,
            "lingering_time": _LINGER_S,
            # A small body may inflate to gigabytes, and nobody needs to send compressed ones.
            "auto_decompress": False,
        }
        super().__init__(app, shutdown_timeout=_GRACE_S, **self._options)

    async def _make_server(self) -> LimitedServer:
        return LimitedServer(await super()._make_server(), self._limits, **self._options)


async def serve(
    app: web.Application,
    host: str,
    port: int,
    extra_sockets: Sequence[socket.socket] = (),
    *,
    limits: ConnectionLimits | None = None,
) -> web.AppRunner:
    """Start serving; the caller ends it by `await runner.cleanup()`. Raises OSError when the
    address is not to be had."""
    runner = _Runner(app, _within_descriptors(limits or ConnectionLimits()))
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=_ACCEPTS)
        await site.start()
        for extra in (*passed_sockets(), *extra_sockets):
            await web.SockSite(runner, extra, backlog=_ACCEPTS).start()
        for listening in _listening(runner):
            with socket.socket(fileno=os.dup(listening.fileno())) as same:
                same.listen(_BACKLOG)
    except OSError:
        await runner.cleanup()
        raise
    return runner


def _listening(runner: web.AppRunner) -> list[socket.socket]:
    servers = [cast(asyncio.Server, site._server) for site in runner.sites]
    return [each for server in servers for each in server.sockets]


def _within_descriptors(limits: ConnectionLimits) -> ConnectionLimits:
    """As many connections as leave descriptors for the daemon's own work, and one address no more
    than half of them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = max(soft - _OWN_FILES, soft // 2)
    at_once = min(limits.at_once, room)
    return replace(limits, at_once=at_once, per_address=min(limits.per_address, at_once // 2 or 1))
