"""Extensions among reservations: by count, a class is never promised beyond its capacity."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.calendar import Period, fits

ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

reservations = st.tuples(st.just("reserve"), st.integers(0, 24), st.integers(1, 12))
extensions = st.tuples(st.just("extend"), st.integers(0, 20), st.integers(1, 12))


def booked(requests: list[tuple[str, int, int]], capacity: int) -> list[Period]:
    """Return what is promised after the requests, each granted if it fits, as `rental` does."""
    promised: list[Period] = []
    for what, number, hours in requests:
        if what == "reserve":
            start = ORIGIN + number * HOUR
            wanted = Period(start, start + hours * HOUR)
            if fits(promised, wanted, capacity):
                promised.append(wanted)
        elif promised:
            position = number % len(promised)
            one = promised[position]
            others = promised[:position] + promised[position + 1 :]
            if fits(others, Period(one.end, one.end + hours * HOUR), capacity):
                promised[position] = Period(one.start, one.end + hours * HOUR)
    return promised


@given(st.lists(st.one_of(reservations, extensions), max_size=40), st.integers(0, 4))
def test_extensions_among_reservations_never_exceed_the_capacity(
    requests: list[tuple[str, int, int]], capacity: int
) -> None:
    promised = booked(requests, capacity)
    hours = (ORIGIN + h * HOUR for h in range(24 * 30))
    assert all(sum(p.start <= hour < p.end for p in promised) <= capacity for hour in hours)


@given(st.lists(st.one_of(reservations, extensions), max_size=40), st.integers(1, 4))
def test_extended_reservations_can_stay_on_their_servers(
    requests: list[tuple[str, int, int]], capacity: int
) -> None:
    """Bound shortly before their start, all find a server, however others were extended."""
    free_from = [ORIGIN] * capacity
    for booking in sorted(booked(requests, capacity), key=lambda p: p.start):
        server = min(range(capacity), key=lambda n: free_from[n])
        assert free_from[server] <= booking.start
        free_from[server] = booking.end
