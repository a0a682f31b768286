"""Reports to the provisioner and takes its answers; one `report` is one exchange and says when the
next is due. Waiting is left to `agent.__main__`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Protocol

from agent import __version__
from agent.lease import Lease
from agent.post import PostError, StatusError
from agent.protocol import AgentConfig, Object, ProtocolError, Report, ReportAnswer

_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 60.0
_JITTER = 0.1
_NONCE_BYTES = 16
_UNAUTHORISED = 401
_log = logging.getLogger("agent")


class Post(Protocol):
    """`agent.post.post`."""

    def __call__(self, url: str, body: str, *, token: str) -> bytes: ...


class Reporter:
    """Sends reports for ever: every `interval_s` with jitter, sooner again after a failure."""

    def __init__(
        self,
        read_config: Callable[[], AgentConfig],
        lease: Lease,
        locked: Callable[[], bool],
        post: Post,
        *,
        boot_id: str,
        now: Callable[[], float],
        hostname: Callable[[], str],
        health: Callable[[], Object | None] = lambda: None,
    ) -> None:
        self._read_config = read_config
        self._config = read_config()
        self._lease = lease
        self._locked = locked
        self._post = post
        self._boot_id = boot_id
        self._now = now
        self._hostname = hostname
        self._health = health
        self._sequence = 0
        self._failures = 0
        self._interval = self._config.interval_s

    def report(self) -> float:
        """One exchange; the seconds until the next is due."""
        self._sequence += 1
        echo, sent_s = os.urandom(_NONCE_BYTES).hex(), self._now()
        try:
            answer = ReportAnswer.from_json(
                self._post(
                    f"{self._config.url}/agents/report",
                    self._message(echo).to_json(),
                    token=self._config.token,
                )
            )
        except (PostError, ProtocolError) as error:
            return self._failed(error)
        if self._failures:
            _log.info("reports get through again after %d failures", self._failures)
        self._failures = 0
        self._interval = answer.interval_s
        self._lease.take(answer.grant, echo=echo, sent_s=sent_s)
        return _jittered(self._interval)

    def _message(self, echo: str) -> Report:
        return Report(
            server=self._config.server,
            context=self._config.context,
            boot_id=self._boot_id,
            sequence=self._sequence,
            uptime_s=round(self._now(), 3),
            agent_version=__version__,
            hostname=self._hostname(),
            lease=self._lease.state(locked=self._locked()),
            health=self._health(),
            echo=echo,
        )

    def _failed(self, error: Exception) -> float:
        if self._failures == 0:  # the first of a row says it, the rest would fill the journal
            _log.warning("report failed, trying again: %s", error)
        self._failures += 1
        if isinstance(error, StatusError) and error.status == _UNAUTHORISED:
            # revoked, or replaced by a new identity that the provisioner has written meanwhile
            self._config = self._read_config()
            return _jittered(_LONGEST_RETRY_S)
        return _jittered(min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2 ** min(self._failures - 1, 6)))


def _jittered(seconds: float) -> float:
    """Within ±10 %, so that the agents of a rack that started together spread out."""
    fraction = int.from_bytes(os.urandom(2), "big") / 0xFFFF
    return seconds * (1 - _JITTER + 2 * _JITTER * fraction)
