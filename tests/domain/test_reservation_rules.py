"""What may be asked of a reservation, by how it stands."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.reservations import (
    ACTIVE,
    ReservationAction,
    ReservationState,
    Standing,
    allowed_actions,
)

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
GOES_ON = Standing(ReservationState.BOUND, NOW + timedelta(hours=1), None)
EXTEND, SWAP, START, STOP, REBOOT, POWER_CYCLE, REINSTALL, RELEASE = ReservationAction
HANDED_OVER = replace(GOES_ON, handed_over=True)


@pytest.mark.parametrize(
    ("standing", "allowed"),
    [
        (GOES_ON, [EXTEND, RELEASE]),
        (replace(GOES_ON, state=ReservationState.WAITING), [EXTEND, RELEASE]),
        (replace(GOES_ON, faulty=True), [EXTEND, SWAP, RELEASE]),
        (HANDED_OVER, [EXTEND, START, STOP, REBOOT, POWER_CYCLE, REINSTALL, RELEASE]),
        (replace(HANDED_OVER, stopped=True), [EXTEND, START, REINSTALL, RELEASE]),
        (replace(HANDED_OVER, ends_at=NOW), [RELEASE]),
        (replace(GOES_ON, ends_at=NOW), [RELEASE]),
        (replace(GOES_ON, released_at=NOW), []),
        (replace(GOES_ON, state=ReservationState.ENDED), []),
        (replace(GOES_ON, state=ReservationState.CANCELLED), []),
    ],
)
def test_what_is_allowed(standing: Standing, allowed: list[ReservationAction]) -> None:
    assert allowed_actions(standing, NOW) == allowed


@given(
    st.builds(
        Standing,
        state=st.sampled_from(ReservationState),
        ends_at=st.timedeltas(timedelta(days=-9), timedelta(days=9)).map(NOW.__add__),
        released_at=st.none() | st.just(NOW),
        faulty=st.booleans(),
        handed_over=st.booleans(),
        stopped=st.booleans(),
    )
)
def test_nothing_is_asked_of_what_is_over(standing: Standing) -> None:
    over = standing.state not in ACTIVE or standing.released_at is not None
    assert bool(allowed_actions(standing, NOW)) is not over
