"""What is kept of older reports: little, and enough for every rule."""

from health_reports import UUID, health, report
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.health import Sample, remember
from provisioner.domain.health.measure import measure
from provisioner.domain.health.rules import BY_NAME

RULE = BY_NAME["nvlink_recoveries"]
GROWTHS = st.lists(st.sampled_from([0, 0, 0, 0, 0, 1, 5]), min_size=1, max_size=90)


def told(growths: list[int]) -> list[Sample]:
    """Return a report each minute, whose counter has grown by this much."""
    return [
        report(60 * minute, health({"uuid": UUID, RULE.signal: [sum(growths[: minute + 1]), 0]}))
        for minute in range(len(growths))
    ]


def kept(samples: list[Sample]) -> tuple[Sample, ...]:
    history: tuple[Sample, ...] = ()
    for sample in samples:
        history = remember(history, sample)
    return history


def growth(history: list[Sample]) -> object:
    return measure(RULE)([(old.at, old.health["gpus"][0]) for old in reversed(history)])


@given(GROWTHS)
def test_what_is_left_out_of_the_history_changes_no_increase(growths: list[int]) -> None:
    samples = told(growths)
    within = sum(growths[1:][-int(RULE.window.total_seconds() / 60) :])
    assert growth(list(kept(samples))) == growth(samples) == (within or None)


def test_a_counter_that_stands_still_is_kept_three_times_at_most() -> None:
    assert len(kept(told([0] * 60))) <= 3
