"""Ends the tenant's access when the lease is over, and reopens it when the lease is extended.

One `tick` decides and acts; `agent.__main__` waits between ticks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from agent.access import Access, AccessError
from agent.lease import Lease

# The longest wait: a machine that slept past its deadline is closed this soon after waking.
LONGEST_WAIT_S = 1.0
_log = logging.getLogger("agent")


class Enforcer:
    """Keeps access in line with the lease; calls `on_change` after each change."""

    def __init__(self, lease: Lease, access: Access, on_change: Callable[[], None]) -> None:
        self._lease = lease
        self._access = access
        self._on_change = on_change
        self.locked = False

    def tick(self) -> float:
        """Bring access in line with the lease; return the seconds until the next tick."""
        if self._lease.expired != self.locked and self._lease.remaining_s is not None:
            self._change(lock=self._lease.expired)
        remaining = self._lease.remaining_s
        if self.locked or not remaining:
            return LONGEST_WAIT_S
        return min(remaining, LONGEST_WAIT_S)

    def _change(self, *, lock: bool) -> None:
        try:
            if lock:
                self._access.close()
            else:
                self._access.open()
        except AccessError as error:
            _log.error("%s access, trying again: %s", "closing" if lock else "opening", error)
            return
        self.locked = lock
        _log.warning("lease %s: access is %s", *("over", "closed") if lock else ("on", "open"))
        self._on_change()
