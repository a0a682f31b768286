"""A circuit breaker: after repeated silence a BMC is not asked for a while.

It saves the callers the full time limit on every call to a dead BMC. Who counts as silent is the
driver's decision; the breaker holds the count and the clock.
"""

import time
from collections.abc import Callable


class CircuitBreaker:
    """Closed until `threshold` failures in a row; then open for `cooldown_s`; then half open.

    Half open means: one attempt is let through; its success closes the circuit, its failure opens
    it for another cool-down. Attempts on one BMC are serial, so no second probe can slip past.
    """

    def __init__(
        self, threshold: int, cooldown_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threshold = threshold
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._reopens_at = 0.0
        self.failures = 0

    def blocked_for(self) -> float:
        """Seconds until the next attempt is let through; 0 when one may be made now."""
        if self.failures < self._threshold:
            return 0.0
        return max(0.0, self._reopens_at - self._clock())

    def succeeded(self) -> None:
        self.failures = 0

    def failed(self) -> None:
        self.failures += 1
        self._reopens_at = self._clock() + self._cooldown_s
