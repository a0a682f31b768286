"""The agent's lease clock and what it does to access, on a clock the tests turn."""

from pathlib import Path

import pytest

from agent.access import AccessError
from agent.enforcer import LONGEST_WAIT_S, Enforcer
from agent.lease import Lease
from agent.protocol import LeaseTerm


class Clock:
    """The boot clock."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


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
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "lease.json"


def lease(file: Path, clock: Clock, seconds: float, boot: str = "boot-1", id: str = "l1") -> Lease:
    return Lease(file, boot, clock, LeaseTerm(id, seconds))


def test_a_lease_runs_down_by_the_boot_clock(file: Path, clock: Clock) -> None:
    held = lease(file, clock, 60)
    clock.now += 59.5
    assert not held.expired
    assert held.remaining_s == pytest.approx(0.5)
    clock.now += 0.5
    assert held.expired
    assert held.remaining_s == 0


@pytest.mark.parametrize(("answer", "left"), [(5, 5), (500, 500), (0, 0)])
def test_an_answer_shortens_or_lengthens_at_once(
    file: Path, clock: Clock, answer: float, left: float
) -> None:
    held = lease(file, clock, 60)
    held.update(LeaseTerm("l1", answer))
    assert held.remaining_s == left


def test_a_restarted_agent_keeps_the_deadline(file: Path, clock: Clock) -> None:
    lease(file, clock, 60).update(LeaseTerm("l1", 30))
    clock.now += 10
    assert lease(file, clock, 60).remaining_s == pytest.approx(20)


def test_a_reboot_never_gives_more_than_was_left_at_the_last_save(file: Path, clock: Clock) -> None:
    held = lease(file, clock, 3600)
    clock.now += 600
    held.update(LeaseTerm("l1", 40))
    clock.now = 3.0  # the boot clock begins anew
    assert lease(file, clock, 3600, boot="boot-2").remaining_s == pytest.approx(40)


def test_a_new_lease_in_the_configuration_replaces_the_old_state(file: Path, clock: Clock) -> None:
    lease(file, clock, 1)
    clock.now += 5
    assert lease(file, clock, 60, id="l2").remaining_s == 60


def test_a_damaged_state_file_falls_back_to_the_grant(file: Path, clock: Clock) -> None:
    lease(file, clock, 60)
    file.write_text('{"lease": "l1", "boot_')
    assert lease(file, clock, 60).remaining_s == 60


def test_a_lease_that_cannot_be_saved_still_runs_down(tmp_path: Path, clock: Clock) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    held = lease(blocked / "lease.json", clock, 5)
    clock.now += 5
    assert held.expired


def test_without_a_lease_nothing_expires(file: Path, clock: Clock) -> None:
    held = Lease(file, "boot-1", clock, None)
    clock.now += 1e9
    assert not held.expired
    assert held.state(locked=False) is None


def test_access_is_closed_at_the_end_and_reported(file: Path, clock: Clock) -> None:
    access, changes = FakeAccess(), []
    enforcer = Enforcer(lease(file, clock, 60), access, lambda: changes.append(1))
    enforcer.tick()
    assert not access.calls
    clock.now += 60
    enforcer.tick()
    enforcer.tick()
    assert (access.calls, enforcer.locked, changes) == (["close"], True, [1])


def test_the_next_look_is_never_later_than_the_deadline(file: Path, clock: Clock) -> None:
    enforcer = Enforcer(lease(file, clock, 60), FakeAccess(), lambda: None)
    assert enforcer.tick() == LONGEST_WAIT_S
    clock.now += 59.75
    assert enforcer.tick() == pytest.approx(0.25)


def test_closing_that_failed_is_tried_again_and_not_reported_as_locked(
    file: Path, clock: Clock
) -> None:
    access = FakeAccess()
    enforcer = Enforcer(lease(file, clock, 0), access, lambda: None)
    access.failing = True
    enforcer.tick()
    assert not enforcer.locked
    access.failing = False
    enforcer.tick()
    assert enforcer.locked
    assert access.calls == ["close", "close"]


def test_an_extension_after_the_end_opens_access_again(file: Path, clock: Clock) -> None:
    access, held = FakeAccess(), lease(file, clock, 0)
    enforcer = Enforcer(held, access, lambda: None)
    enforcer.tick()
    held.update(LeaseTerm("l1", 60))
    enforcer.tick()
    assert access.calls == ["close", "open"]
    assert not enforcer.locked


def test_a_lease_that_vanishes_after_the_end_does_not_open_access(file: Path, clock: Clock) -> None:
    access, held = FakeAccess(), lease(file, clock, 0)
    enforcer = Enforcer(held, access, lambda: None)
    enforcer.tick()
    held.update(None)
    enforcer.tick()
    assert access.calls == ["close"]


def test_a_lease_already_over_closes_again_after_a_reboot(file: Path, clock: Clock) -> None:
    lease(file, clock, 0)
    clock.now = 3.0
    access = FakeAccess()
    Enforcer(lease(file, clock, 3600, boot="boot-2"), access, lambda: None).tick()
    assert access.calls == ["close"]
