"""Long-polls the provisioner for a newer grant, so that a changed end takes effect in seconds.

One `listen` is one wait; `agent.__main__` repeats it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from agent.lease import Lease
from agent.post import PostError
from agent.protocol import AgentConfig, ProtocolError, SignedGrant
from agent.retries import nonce, pause_s

# The provisioner answers after 50 s at the latest.
PATIENCE_S = 75.0
# An empty answer that comes sooner was not a long poll.
_SOON_S = 5.0
_log = logging.getLogger("agent")


class Get(Protocol):
    """The signature of `agent.post.Connection.get`."""

    def __call__(self, url: str, *, token: str, timeout: float) -> bytes: ...


class Listener:
    """Asks for grants newer than the one held."""

    def __init__(
        self,
        read_config: Callable[[], AgentConfig],
        lease: Lease,
        get: Get,
        now: Callable[[], float],
    ) -> None:
        self._read_config = read_config
        self._lease = lease
        self._get = get
        self._now = now
        self._failures = 0

    def listen(self) -> float:
        """Wait for a newer grant and take it; return the seconds to pause before the next wait."""
        after, echo, sent_s = self._sequence(), nonce(), self._now()
        try:
            config = self._read_config()
            answer = self._get(
                f"{config.url}/agents/grant?after={after}&echo={echo}",
                token=config.token,
                timeout=PATIENCE_S,
            )
            if answer:
                self._lease.take(SignedGrant.from_json(answer), echo=echo, sent_s=sent_s)
        except (PostError, ProtocolError, OSError) as error:
            if self._failures == 0:
                _log.warning("waiting for a newer grant failed, trying again: %s", error)
            return self._failed()
        if self._sequence() == after and self._now() - sent_s < _SOON_S:
            return self._failed()
        self._failures = 0
        return 0.0

    def _sequence(self) -> int:
        held = self._lease.held
        return held.sequence if held else 0

    def _failed(self) -> float:
        self._failures += 1
        return pause_s(self._failures)
