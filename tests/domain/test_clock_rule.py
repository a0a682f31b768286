"""The site's time follows the host's clock through corrections, never through a jump."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.clock import (
    LONGEST_REBOOT,
    Reading,
    Timekeeping,
    ahead,
    disagreement,
    follow,
    resume,
    trusting,
)

ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
TOLERANCE = timedelta(seconds=5)
START = Timekeeping(ORIGIN, 1000.0)

elapsed = st.floats(0, 1e6)
slews = st.floats(-5, 5).map(lambda seconds: timedelta(seconds=seconds))
jumps = st.one_of(st.floats(-1e8, -5.001), st.floats(5.001, 1e8)).map(
    lambda seconds: timedelta(seconds=seconds)
)


def after(kept: Timekeeping, passed_s: float, jump: timedelta = timedelta()) -> Reading:
    """The host's clocks when so much time has passed, if the wall clock is off by `jump`."""
    boottime_s = kept.boottime_s + passed_s
    return Reading(kept.carried(boottime_s) + jump, boottime_s)


@given(elapsed, slews)
def test_a_correction_within_the_tolerance_is_followed(passed_s: float, by: timedelta) -> None:
    reading = after(START, passed_s, by)
    assert follow(START, reading, TOLERANCE) == trusting(reading)


@given(elapsed, jumps)
def test_a_jump_is_not_followed(passed_s: float, by: timedelta) -> None:
    reading = after(START, passed_s, by)
    assert follow(START, reading, TOLERANCE) == START


@given(st.lists(st.tuples(elapsed, jumps)), elapsed)
def test_whatever_the_wall_clock_said_meanwhile_time_goes_on_as_it_passes(
    readings: list[tuple[float, timedelta]], passed_s: float
) -> None:
    kept = START
    for earlier_s, jump in readings:
        kept = follow(kept, after(START, earlier_s, jump), TOLERANCE)
    reading = after(START, passed_s)
    assert follow(kept, reading, TOLERANCE).carried(reading.boottime_s) == reading.wall


@given(st.lists(st.tuples(st.floats(0, 3600), slews | jumps), max_size=50))
def test_no_reading_moves_time_by_more_than_what_passed_and_the_tolerance(
    readings: list[tuple[float, timedelta]],
) -> None:
    kept = START
    for passed_s, jump in readings:
        before = kept
        reading = after(kept, passed_s, jump)
        kept = follow(kept, reading, TOLERANCE)
        moved = kept.carried(reading.boottime_s) - before.carried(reading.boottime_s)
        assert abs(moved) <= TOLERANCE + timedelta(milliseconds=1)


@given(elapsed, jumps)
def test_a_restarted_daemon_carries_on_through_a_jump(passed_s: float, jump: timedelta) -> None:
    reading = after(START, passed_s, jump)
    kept = resume(reading, TOLERANCE, same_boot=START, last=START.at, witness=reading.wall)
    assert kept.carried(reading.boottime_s) == START.carried(reading.boottime_s)


WALL = ORIGIN + timedelta(days=3)
NOW = Reading(WALL, 60.0)


def resumed(last: datetime | None, witness: datetime | None) -> datetime:
    kept = resume(NOW, TOLERANCE, same_boot=None, last=last, witness=witness)
    return kept.carried(NOW.boottime_s)


@pytest.mark.parametrize(
    ("last", "witness", "expected"),
    [
        pytest.param(None, None, WALL, id="the first start has the wall clock alone"),
        pytest.param(None, WALL - 2 * TOLERANCE, WALL - 2 * TOLERANCE, id="another host differs"),
        pytest.param(WALL - LONGEST_REBOOT, None, WALL, id="after a reboot"),
        pytest.param(ORIGIN, None, ORIGIN, id="off for long, or set ahead"),
        pytest.param(WALL + TOLERANCE, None, WALL, id="a little behind"),
        pytest.param(WALL + 2 * TOLERANCE, None, WALL + 2 * TOLERANCE, id="behind"),
        pytest.param(ORIGIN, WALL + TOLERANCE, WALL, id="off for long, another host agrees"),
        pytest.param(WALL - TOLERANCE, ORIGIN, ORIGIN, id="another host is believed first"),
    ],
)
def test_after_a_reboot_the_wall_clock_needs_a_witness(
    last: datetime | None, witness: datetime | None, expected: datetime
) -> None:
    assert resumed(last, witness) == expected


def test_time_that_was_not_believed_at_a_start_stays_so_until_the_clock_agrees() -> None:
    kept = resume(NOW, TOLERANCE, same_boot=None, last=ORIGIN, witness=None)
    assert follow(kept, NOW, TOLERANCE) == kept
    assert ahead(kept, NOW) == timedelta(days=3)
    corrected = after(kept, 600, timedelta(seconds=1))
    assert follow(kept, corrected, TOLERANCE) == trusting(corrected)


def test_what_is_wrong_is_said_of_each_clock() -> None:
    day, none = timedelta(days=1), timedelta()
    assert disagreement("a1", none, TOLERANCE, TOLERANCE) == ""
    assert disagreement("a1", day, none, TOLERANCE) == (
        "the clock of a1 is 1 day, 0:00:00 ahead of the time that has passed; leases and "
        "reservations go on by the latter"
    )
    both = disagreement("a1", day, -2 * TOLERANCE, TOLERANCE)
    assert both.endswith("; the database's clock is 0:00:10 behind the time that a1 keeps")
