"""Serves the application on its own address and on sockets passed by the parent process.

Sockets are passed as systemd does it (sd_listen_fds(3)): LISTEN_PID names this process, LISTEN_FDS
says how many there are from descriptor 3 on. So the service can listen outside of its namespace.
"""

import os
import socket
from collections.abc import Sequence

from aiohttp import web

_FIRST = 3
_GRACE_S = 2.0
"""Time for responses in progress when the service stops; then event streams are cut."""
_KEEP_S = 75.0
"""How long a connection may be idle: longer than several of an agent's report intervals, but
limited, as a machine that loses power leaves its connections behind."""
_BACKLOG = 4096
"""Connections that may wait to be accepted: a rejected one is retried only after a second."""


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


async def serve(
    app: web.Application,
    host: str,
    port: int,
    extra_sockets: Sequence[socket.socket] = (),
) -> web.AppRunner:
    """Start serving; the caller ends it by `await runner.cleanup()`. Raises OSError when the
    address is not to be had."""
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=_GRACE_S, keepalive_timeout=_KEEP_S
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
        for extra in (*passed_sockets(), *extra_sockets):
            await web.SockSite(runner, extra, backlog=_BACKLOG).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner
