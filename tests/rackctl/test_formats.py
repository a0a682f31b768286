"""Durations, times and sizes as people read and write them."""

from datetime import timedelta

import pytest

from provisioner.rackctl.formats import duration, local_time, parse_duration, plain, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (192, "3m12s"),
        (3600, "1h"),
        (3661, "1h1m"),
        (90_000, "1d1h"),
        (86_400 + 59, "1d"),
        (-5, "0s"),
    ],
)
def test_durations_show_their_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90m", timedelta(minutes=90)),
        ("2h", timedelta(hours=2)),
        ("1d12h", timedelta(days=1, hours=12)),
        (" 1H30M5s ", timedelta(hours=1, minutes=30, seconds=5)),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, value: timedelta) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-1h", "1h2d", "1.5h", "two hours", "٣h"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="90m, 2h or 1d12h"):
        parse_duration(text)


def test_times_are_local_and_name_their_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert local_time("2026-07-01T10:00:00Z") == "2026-07-01 12:00:00 CEST"
        assert local_time(None) == ""
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (3_840_755_982_336, "3.84 TB"), (10**16, "10 PB")],
)
def test_sizes_are_in_the_units_that_disks_are_sold_in(count: int | None, text: str) -> None:
    assert size(count) == text


def test_text_from_a_machine_cannot_control_the_terminal() -> None:
    assert plain("a\x1b[31mb\x07\u202ec\r") == "a?[31mb??c?"
    assert plain("two\nlines\tand ünïcode") == "two\nlines\tand ünïcode"
