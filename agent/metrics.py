"""Serves the GPUs' metrics to the customer, at `/metrics` on the loopback address."""

from __future__ import annotations

import logging
from collections.abc import Callable

from agent import local_http
from agent.local_http import Answer, Request
from agent.signals import Values
from agent.signals.prometheus import exposition

# Not the DCGM exporter's own port, which stays free for it.
PORT = 9401
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_log = logging.getLogger("agent")


def serve(health: Callable[[], Values], hostname: Callable[[], str], port: int = PORT) -> None:
    """Answer for ever, to this machine only. If the port is taken, it is left alone."""
    try:
        listener = local_http.listen("127.0.0.1", port)
    except OSError as error:
        _log.warning("no metrics on 127.0.0.1:%d: %s", port, error)
        return

    def answer(request: Request) -> Answer:
        if (request.method, request.path) != ("GET", "/metrics"):
            return Answer(404, "Metrics are at /metrics.\n")
        return Answer(200, exposition((health(), {"Hostname": hostname()})), _CONTENT_TYPE)

    local_http.serve(listener, answer)
