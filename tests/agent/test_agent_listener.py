"""Waiting for a newer grant, against a simulated provisioner."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from agent_grants import Site

from agent.lease import Lease
from agent.listener import Listener
from agent.post import PostError


class Link:
    """Answers a wait after `waits_s`: with the site's newer grant, with nothing, or by failing."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.waits_s = 50.0
        self.asked: list[int] = []
        self.failing = False

    def __call__(self, url: str, *, token: str, timeout: float) -> bytes:
        query = parse_qs(urlsplit(url).query)
        self.asked.append(int(query["after"][0]))
        if self.failing:
            raise PostError("down")
        self.site.clock.turn(self.waits_s)
        if self.site.sequence <= self.asked[-1]:
            return b""
        return self.site.grant(query["echo"][0]).to_json().encode()


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def lease(site: Site, tmp_path: Path) -> Lease:
    return site.held(tmp_path / "lease.json")


@pytest.fixture
def link(site: Site) -> Link:
    return Link(site)


@pytest.fixture
def listener(site: Site, lease: Lease, link: Link) -> Listener:
    return Listener(site.config, lease, link, site.clock)


def test_a_newer_grant_is_taken_and_the_next_one_awaited_at_once(
    site: Site, lease: Lease, link: Link, listener: Listener
) -> None:
    site.exchange(lease)
    link.waits_s = 0.5
    site.end_in(500)
    assert listener.listen() == 0
    assert lease.remaining_s == pytest.approx(499.5)
    site.end_in(900)
    assert listener.listen() == 0
    assert link.asked == [1, 2]


def test_a_wait_in_vain_is_followed_by_another(listener: Listener) -> None:
    assert [listener.listen() for _ in range(3)] == [0, 0, 0]


def test_answers_that_were_not_waited_for_are_asked_for_ever_more_slowly(
    link: Link, listener: Listener
) -> None:
    link.waits_s = 0.0
    waits = [listener.listen() for _ in range(20)]
    assert waits[0] >= 0.9
    assert waits[-1] >= 54


def test_a_grant_that_does_not_count_is_no_news(
    site: Site, lease: Lease, link: Link, listener: Listener
) -> None:
    link.waits_s = 0.0
    link.site = Site(clock=site.clock, sequence=7, not_after=site.not_after + 9000)  # another key
    before = lease.remaining_s
    assert listener.listen() >= 0.9
    assert lease.remaining_s == before


def test_failures_are_repeated_ever_more_slowly_until_it_works_again(
    link: Link, listener: Listener
) -> None:
    link.failing = True
    waits = [listener.listen() for _ in range(20)]
    assert waits[0] <= 1.1
    assert waits[-1] >= 54
    link.failing = False
    assert listener.listen() == 0
    link.failing = True
    assert listener.listen() <= 1.1
