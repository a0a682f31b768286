"""What the enforcer does to access, on a clock the tests turn."""

from pathlib import Path

import pytest
from agent_grants import Site

from agent.access import AccessError
from agent.enforcer import LONGEST_WAIT_S, Enforcer
from agent.lease import Lease


class FakeAccess:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing = False

    def close(self) -> None:
        self._do("close")

    def open(self) -> None:
        self._do("open")

    def _do(self, what: str) -> None:
        self.calls.append(what)
        if self.failing:
            raise AccessError("systemctl is gone")


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def lease(site: Site, tmp_path: Path) -> Lease:
    """With 60 s left."""
    lease = site.held(tmp_path / "lease.json")
    site.exchange(lease)
    return lease


@pytest.fixture
def access() -> FakeAccess:
    return FakeAccess()


def test_access_is_closed_at_the_end_and_reported(
    site: Site, lease: Lease, access: FakeAccess
) -> None:
    changes: list[int] = []
    enforcer = Enforcer(lease, access, lambda: changes.append(1))
    enforcer.tick()
    assert not access.calls
    site.clock.turn(60)
    enforcer.tick()
    enforcer.tick()
    assert (access.calls, enforcer.locked, changes) == (["close"], True, [1])


def test_the_next_look_is_never_later_than_the_end(
    site: Site, lease: Lease, access: FakeAccess
) -> None:
    enforcer = Enforcer(lease, access, lambda: None)
    assert enforcer.tick() == LONGEST_WAIT_S
    site.clock.turn(59.75)
    assert enforcer.tick() == pytest.approx(0.25, abs=1e-3)


def test_closing_that_failed_is_tried_again_and_not_reported_as_locked(
    site: Site, lease: Lease, access: FakeAccess
) -> None:
    site.clock.turn(60)
    enforcer = Enforcer(lease, access, lambda: None)
    access.failing = True
    enforcer.tick()
    assert not enforcer.locked
    access.failing = False
    enforcer.tick()
    assert enforcer.locked
    assert access.calls == ["close", "close"]


def test_an_extension_after_the_end_opens_access_again(
    site: Site, lease: Lease, access: FakeAccess
) -> None:
    enforcer = Enforcer(lease, access, lambda: None)
    site.clock.turn(60)
    enforcer.tick()
    site.end_in(60)
    site.exchange(lease)
    enforcer.tick()
    assert access.calls == ["close", "open"]
    assert not enforcer.locked


def test_an_answer_without_a_grant_after_the_end_does_not_open_access(
    site: Site, lease: Lease, access: FakeAccess
) -> None:
    enforcer = Enforcer(lease, access, lambda: None)
    site.clock.turn(60)
    enforcer.tick()
    lease.take(None, echo="nonce", sent_s=site.clock.now)
    enforcer.tick()
    assert access.calls == ["close"]


def test_a_lease_already_over_closes_again_after_a_reboot(
    site: Site, lease: Lease, access: FakeAccess, tmp_path: Path
) -> None:
    site.clock.turn(60)
    lease.keep()
    site.clock.reboot()
    Enforcer(site.held(tmp_path / "lease.json", "boot-2"), access, lambda: None).tick()
    assert access.calls == ["close"]
