"""When a BMC that stays silent is tried again."""

from provisioner.drivers.bmc.breaker import CircuitBreaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_failures_below_the_threshold_block_nothing() -> None:
    breaker = CircuitBreaker(3, 30, clock=Clock())
    breaker.failed()
    breaker.failed()
    assert breaker.blocked_for() == 0


def test_success_in_between_starts_the_count_again() -> None:
    breaker = CircuitBreaker(2, 30, clock=Clock())
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.blocked_for() == 0


def test_threshold_blocks_for_the_cooldown() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 30, clock=clock)
    breaker.failed()
    clock.now = 10
    assert breaker.blocked_for() == 20
    clock.now = 30
    assert breaker.blocked_for() == 0


def test_failed_probe_blocks_for_another_cooldown_and_success_closes() -> None:
    clock = Clock()
    breaker = CircuitBreaker(2, 30, clock=clock)
    breaker.failed()
    breaker.failed()
    clock.now = 31
    breaker.failed()
    assert breaker.blocked_for() == 30
    breaker.succeeded()
    assert breaker.blocked_for() == 0
