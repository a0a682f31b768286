"""Reports to the provisioner and processes its answers.

One `report` is one exchange and returns when the next is due; `agent.__main__` waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from agent import __version__
from agent.lease import Lease
from agent.post import PostError, StatusError
from agent.protocol import AgentConfig, Object, ProtocolError, Report, ReportAnswer
from agent.retries import LONGEST_S, jittered, nonce, pause_s
from agent.watch import alarms

HEALTH_EVERY_S = 60.0
NEAR_END_S = 300.0
"""This long before the end, every report asks for the grant; earlier, only those with health do."""
_UNAUTHORISED = 401
_log = logging.getLogger("agent")


class Post(Protocol):
    """The signature of `agent.post.Connection.post`."""

    def __call__(self, url: str, body: str, *, token: str) -> bytes: ...


class Reporter:
    """Sends reports for ever: every `interval_s` with jitter, sooner after a failure."""

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
        self._told: Object | None = None
        self._told_s = 0.0
        self._sequence = 0
        self._failures = 0
        self._interval = self._config.interval_s

    def report(self) -> float:
        """Make one exchange; return the seconds until the next is due."""
        self._sequence += 1
        sent_s = self._now()
        health = self._health_to_tell(sent_s)
        echo = nonce() if health is not None or self._is_near_end() else ""
        try:
            answer = ReportAnswer.from_json(
                self._post(
                    f"{self._config.url}/agents/report",
                    self._message(echo, health).to_json(),
                    token=self._config.token,
                )
            )
        except (PostError, ProtocolError) as error:
            return self._failed(error)
        if self._failures:
            _log.info("reports succeed again after %d failures", self._failures)
        self._failures = 0
        if health is not None:
            self._told, self._told_s = health, sent_s
        self._interval = answer.interval_s
        self._lease.take(answer.grant, echo=echo, sent_s=sent_s)
        return jittered(self._interval)

    def _health_to_tell(self, now: float) -> Object | None:
        """Return all health signals on the first report, on an alarm, and once a minute; else None.

        They make up most of a report.
        """
        health = self._health()
        if health is None or self._told is None or now - self._told_s >= HEALTH_EVERY_S:
            return health
        return None if alarms(health) == alarms(self._told) else health

    def _is_near_end(self) -> bool:
        remaining_s = self._lease.remaining_s
        return remaining_s is None or remaining_s < NEAR_END_S

    def _message(self, echo: str, health: Object | None) -> Report:
        return Report(
            server=self._config.server,
            context=self._config.context,
            boot_id=self._boot_id,
            sequence=self._sequence,
            uptime_s=round(self._now(), 3),
            agent_version=__version__,
            hostname=self._hostname(),
            lease=self._lease.state(locked=self._locked()),
            health=health,
            echo=echo,
        )

    def _failed(self, error: Exception) -> float:
        if self._failures == 0:  # log only the first in a row, so as not to fill the journal
            _log.warning("report failed, trying again: %s", error)
        self._failures += 1
        if isinstance(error, StatusError) and error.status == _UNAUTHORISED:
            # Revoked, or replaced by a new identity that the provisioner has written in the
            # meantime.
            self._config = self._read_config()
            self._told = None  # health was reported under the old identity
            return jittered(LONGEST_S)
        return pause_s(self._failures)
