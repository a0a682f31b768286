"""What follows a failed attempt at a step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.failures import FailureKind
from provisioner.domain.retries import PATIENCE, TRIES, Reaction, backoff, reaction

kinds = st.sampled_from(FailureKind)


@pytest.mark.parametrize(
    ("kind", "attempt", "in_ramdisk", "follows"),
    [
        (FailureKind.TRANSIENT, 1, False, Reaction.RETRY),
        (FailureKind.TRANSIENT, 1, True, Reaction.RETRY),
        (FailureKind.TRANSIENT, 2, True, Reaction.FIND_RAMDISK),
        (FailureKind.TRANSIENT, 5, False, Reaction.PARK),
        (FailureKind.TRANSIENT, 5, True, Reaction.GIVE_UP),
        (FailureKind.CONFIGURATION, 1, True, Reaction.PARK),
        (FailureKind.SERVER_FAULT, 1, False, Reaction.GIVE_UP),
        (FailureKind.DEFECT, 2, False, Reaction.RETRY),
        (FailureKind.DEFECT, 3, True, Reaction.PARK),
    ],
)
def test_reaction(kind: FailureKind, attempt: int, in_ramdisk: bool, follows: Reaction) -> None:
    assert reaction(kind, attempt, in_ramdisk=in_ramdisk) is follows


@given(kinds, st.integers(min_value=1, max_value=50), st.booleans())
def test_what_was_requested_is_never_parked(
    kind: FailureKind, attempt: int, in_ramdisk: bool
) -> None:
    follows = reaction(kind, attempt, in_ramdisk=in_ramdisk, requested=True)
    assert follows is not Reaction.PARK
    assert (follows is Reaction.GIVE_UP) == (attempt >= TRIES[kind])


@given(st.integers(min_value=1, max_value=1000))
def test_the_pause_grows_to_a_minute(attempt: int) -> None:
    assert backoff(attempt) <= backoff(attempt + 1) <= PATIENCE
