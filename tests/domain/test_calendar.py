"""Counting bookings: a class is never promised beyond its capacity."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.calendar import Period, fits, peak

ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)


def period(start: int, length: int) -> Period:
    return Period(ORIGIN + timedelta(hours=start), ORIGIN + timedelta(hours=start + length))


periods = st.builds(period, st.integers(0, 48), st.integers(1, 24))


@given(st.lists(periods, max_size=30), st.integers(0, 4))
def test_accepting_only_what_fits_never_exceeds_the_capacity(
    requests: list[Period], capacity: int
) -> None:
    accepted: list[Period] = []
    for request in requests:
        if fits(accepted, request, capacity):
            accepted.append(request)
    hours = (ORIGIN + timedelta(hours=h) for h in range(80))
    assert all(sum(p.start <= hour < p.end for p in accepted) <= capacity for hour in hours)


@given(st.lists(periods, max_size=20), periods)
def test_the_peak_is_the_most_at_any_hour(bookings: list[Period], within: Period) -> None:
    hours = (ORIGIN + timedelta(hours=h) for h in range(80))
    by_hour = [
        sum(p.start <= hour < p.end for p in bookings)
        for hour in hours
        if within.start <= hour < within.end
    ]
    assert peak(bookings, within) == max(by_hour)


@given(st.lists(periods, max_size=20), st.integers(1, 4))
def test_what_fits_by_count_can_be_bound_to_servers_greedily(
    requests: list[Period], capacity: int
) -> None:
    accepted: list[Period] = []
    for request in requests:
        if fits(accepted, request, capacity):
            accepted.append(request)
    free_from = [ORIGIN] * capacity
    for booking in sorted(accepted, key=lambda p: p.start):
        server = min(range(capacity), key=lambda n: free_from[n])
        assert free_from[server] <= booking.start
        free_from[server] = booking.end


def test_a_booking_may_start_when_another_ends() -> None:
    assert fits([period(0, 2)], period(2, 2), capacity=1)


def test_a_period_that_does_not_last_is_refused() -> None:
    with pytest.raises(ValueError, match="end after it starts"):
        period(3, 0)
