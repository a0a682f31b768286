"""The warnings before the end, on a clock the tests turn."""

from pathlib import Path

import pytest
from agent_grants import BEGAN, Site

from agent.lease import Held, Lease
from agent.notices import WARNINGS_S, Notices, announced
from agent.times import span

HOUR = 3600.0


class Told:
    """What somebody on the machine saw."""

    def __init__(self, folder: Path) -> None:
        self.walls: list[str] = []
        self.hooks: list[float] = []
        self.motd_file = folder / "motd.d" / "ironlease"

    def notices(self, lease: Lease) -> Notices:
        def run_hooks(held: Held) -> None:
            self.hooks.append(held.not_after)

        return Notices(lease, run_hooks, wall=self.walls.append, motd=self.motd_file)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save once an hour, not once a minute, as the tests run through days."""
    monkeypatch.setattr("agent.lease.SAVE_EVERY_S", HOUR)


@pytest.fixture
def site() -> Site:
    return Site(not_after=BEGAN + 30 * HOUR)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


@pytest.fixture
def lease(site: Site, tmp_path: Path) -> Lease:
    return started(site, tmp_path)


def started(site: Site, folder: Path, boot: str = "boot-1") -> Lease:
    lease = site.held(folder / "lease.json", boot)
    site.exchange(lease)
    return lease


def play(site: Site, notices: Notices, seconds: float) -> None:
    """Let time pass, with a tick whenever one is due."""
    until = site.clock.now + seconds
    while True:
        site.clock.turn(max(0.001, min(notices.tick(), until - site.clock.now)))
        if site.clock.now >= until:
            notices.tick()
            return


def test_each_warning_is_given_once_and_in_time(site: Site, lease: Lease, told: Told) -> None:
    notices = told.notices(lease)
    for before, words in zip(
        WARNINGS_S, ("24 hours", "60 minutes", "30 minutes", "10 minutes", "2 minutes"), strict=True
    ):
        assert lease.remaining_s is not None
        play(site, notices, lease.remaining_s - before - 1)
        count = len(told.walls)
        play(site, notices, 2)
        assert len(told.walls) == count + 1
        assert words in told.walls[-1]
    play(site, notices, 300)
    assert len(told.walls) == len(WARNINGS_S)
    assert told.hooks == [site.not_after]


def test_only_warnings_within_the_lease_are_given(tmp_path: Path, told: Told) -> None:
    site = Site(not_after=BEGAN + 300)
    play(site, told.notices(started(site, tmp_path)), 300)
    assert len(told.walls) == 1
    assert "2 minutes" in told.walls[0]
    assert told.hooks == [site.not_after]


def test_an_agent_that_is_started_again_does_not_repeat_itself(
    site: Site, lease: Lease, told: Told, tmp_path: Path
) -> None:
    play(site, told.notices(lease), 29 * HOUR + 60)
    assert len(told.walls) == 2
    site.clock.turn(5)
    again = started(site, tmp_path)
    play(site, told.notices(again), 5)
    assert len(told.walls) == 2
    play(site, told.notices(again), HOUR - 300)
    assert ["30 minutes" in wall for wall in told.walls[2:]] == [True, False]


def test_a_machine_that_slept_is_told_once_how_much_is_left(
    site: Site, lease: Lease, told: Told
) -> None:
    notices = told.notices(lease)
    notices.tick()
    site.clock.turn(29 * HOUR + 1800 + 300)
    play(site, notices, 5)
    assert len(told.walls) == 1
    assert "25 minutes" in told.walls[0]


def test_an_extension_is_told_again_from_where_it_leads(
    site: Site, lease: Lease, told: Told
) -> None:
    notices = told.notices(lease)
    play(site, notices, 30 * HOUR - 100)
    assert (len(told.walls), len(told.hooks)) == (5, 1)
    site.end_in(45 * 60)
    site.exchange(lease)
    play(site, notices, 45 * 60)
    assert [wall.split(" in ")[1].split(",")[0] for wall in told.walls[5:]] == [
        "30 minutes",
        "10 minutes",
        "2 minutes",
    ]
    assert len(told.hooks) == 2


def test_an_earlier_end_is_told_as_late_as_it_is(site: Site, lease: Lease, told: Told) -> None:
    notices = told.notices(lease)
    play(site, notices, HOUR)
    site.end_in(50)
    site.exchange(lease)
    notices.tick()
    assert len(told.walls) == 1
    assert "50 seconds" in told.walls[0]
    assert len(told.hooks) == 1


def test_a_released_lease_is_not_told(site: Site, lease: Lease, told: Told) -> None:
    notices = told.notices(lease)
    site.end_in(0)
    site.exchange(lease)
    notices.tick()
    assert (told.walls, told.hooks) == ([], [])


def test_who_logs_in_reads_when_it_ends(site: Site, lease: Lease, told: Told) -> None:
    notices = told.notices(lease)
    notices.tick()
    assert told.motd_file.read_text() == (
        "The lease of this server ends on Saturday 16 January 2027 at 14:00:00 UTC.\n"
    )
    site.end_in(HOUR)
    site.exchange(lease)
    notices.tick()
    assert "Friday 15 January 2027 at 09:00:00" in told.motd_file.read_text()


def test_a_motd_that_cannot_be_written_stops_no_warning(
    site: Site, lease: Lease, told: Told
) -> None:
    told.motd_file.parent.write_text("")
    play(site, told.notices(lease), 29 * HOUR + 60)
    assert len(told.walls) == 2


def test_without_a_lease_nothing_is_told(site: Site, told: Told, tmp_path: Path) -> None:
    lease = Lease(tmp_path / "none.json", "boot-1", site.clock, site.verifier().verified, None)
    assert told.notices(lease).tick() > 0
    assert not told.motd_file.exists()


def test_the_end_is_announced_with_the_first_warning_and_not_after_a_long_extension(
    site: Site, lease: Lease, told: Told
) -> None:
    notices = told.notices(lease)
    seen = []
    for seconds in (5 * HOUR, 2 * HOUR, 22 * HOUR + 1800):
        play(site, notices, seconds)
        assert lease.held is not None
        seen.append(announced(lease.held))
    site.end_in(45 * 60)
    site.exchange(lease)
    seen.append(announced(lease.held))
    site.end_in(72 * HOUR)
    site.exchange(lease)
    seen.append(announced(lease.held))
    assert seen == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (86400, "24 hours"),
        (3600, "60 minutes"),
        (119.6, "2 minutes"),
        (89, "89 seconds"),
        (1, "1 second"),
    ],
)
def test_spans_are_as_exact_as_one_needs(seconds: float, words: str) -> None:
    assert span(seconds) == words
