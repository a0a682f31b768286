"""The agent's lease: which grants count, and when it ends, on a clock the tests turn."""

import base64
import json
import logging
from pathlib import Path

import pytest
from agent_grants import BEGAN, Clock, Site
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.grants import GrantRefused
from agent.lease import SAVE_EVERY_S, Lease
from agent.protocol import SignedGrant


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def clock(site: Site) -> Clock:
    return site.clock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "lease.json"


def booted(site: Site, file: Path) -> Lease:
    """Return an agent's lease after its start and first answer."""
    lease = site.held(file)
    site.exchange(lease)
    return lease


def test_a_lease_runs_down_by_the_boot_clock(site: Site, clock: Clock, file: Path) -> None:
    lease = booted(site, file)
    clock.turn(59.5)
    assert not lease.expired
    assert lease.remaining_s == pytest.approx(0.5)
    clock.turn(0.5)
    assert lease.expired
    assert lease.remaining_s == 0


def test_the_configurations_grant_counts_from_the_start_of_the_boot(site: Site, file: Path) -> None:
    """It was issued before the machine booted, 100 s ago by the boot clock."""
    assert site.held(file, not_after=BEGAN + 500).remaining_s == pytest.approx(400)


@pytest.mark.parametrize("left", [5, 500, 0])
def test_a_newer_grant_shortens_or_lengthens_at_once(site: Site, file: Path, left: float) -> None:
    lease, heard = booted(site, file), []
    lease.listen(lambda: heard.append(lease.remaining_s))
    site.end_in(left)
    site.exchange(lease)
    assert lease.remaining_s == pytest.approx(left)
    assert heard == [pytest.approx(left)]


def test_an_older_grant_is_refused(site: Site, file: Path) -> None:
    lease = booted(site, file)
    old = site.grant("nonce", not_after=BEGAN + 9000)
    site.end_in(10)
    site.exchange(lease)
    lease.take(old, echo="nonce", sent_s=site.clock.now)
    assert lease.remaining_s == pytest.approx(10)


def test_a_replayed_answer_changes_nothing(site: Site, clock: Clock, file: Path) -> None:
    lease = booted(site, file)
    answer = site.grant("first")
    lease.take(answer, echo="first", sent_s=clock.now)
    clock.turn(30)
    lease.take(answer, echo="second", sent_s=clock.now)
    assert lease.remaining_s == pytest.approx(30)


def test_a_delayed_answer_gives_no_time(site: Site, clock: Clock, file: Path) -> None:
    lease = booted(site, file)
    site.exchange(lease, back_s=40)
    assert lease.remaining_s == pytest.approx(20)


def test_an_answer_that_was_long_awaited_takes_no_time(
    site: Site, clock: Clock, file: Path
) -> None:
    """A waiting request gets the time of the answer, not of the request."""
    lease = booted(site, file)
    sent_s = clock.now
    clock.turn(50)
    site.end_in(30)
    lease.take(site.grant("nonce"), echo="nonce", sent_s=sent_s)
    assert lease.remaining_s == pytest.approx(30)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 100),
            st.floats(0, 100),
            st.floats(0, 100),
            st.floats(-500, 500) | st.none(),
        ),
        max_size=8,
    )
)
def test_no_delays_give_time_and_quick_answers_lose_none(
    tmp_path_factory: pytest.TempPathFactory,
    exchanges: list[tuple[float, float, float, float | None]],
) -> None:
    site = Site(not_after=BEGAN + 300)
    lease = booted(site, tmp_path_factory.mktemp("lease") / "lease.json")
    for pause, out, back, end_in in exchanges:
        site.clock.turn(pause)
        if end_in is not None:
            site.end_in(end_in)
        site.exchange(lease, out_s=out, back_s=back)
        left = max(0.0, site.not_after - site.clock.unix)
        assert lease.remaining_s == pytest.approx(left, abs=1e-3)


def test_a_drifting_boot_clock_is_put_right_by_each_answer(
    site: Site, clock: Clock, file: Path
) -> None:
    lease = booted(site, file)
    for wrong in (-7, 7):
        clock.now += wrong
        site.exchange(lease, out_s=0.1, back_s=0.1)
        assert lease.remaining_s == pytest.approx(site.not_after - clock.unix, abs=0.21)


def test_nothing_is_enforced_before_the_lease_begins(site: Site, clock: Clock, file: Path) -> None:
    site.not_before = BEGAN + 30
    lease = booted(site, file)
    site.end_in(0)  # released before it began
    site.exchange(lease)
    assert not lease.expired
    clock.turn(30)
    assert lease.expired


def test_a_restarted_agent_keeps_the_end(site: Site, clock: Clock, file: Path) -> None:
    lease = booted(site, file)
    site.end_in(30)
    site.exchange(lease)
    clock.turn(10)
    assert site.held(file, not_after=BEGAN + 9000).remaining_s == pytest.approx(20)


def test_a_reboot_never_gives_more_than_was_left_at_the_last_save(
    site: Site, clock: Clock, file: Path
) -> None:
    lease = booted(site, file)
    site.end_in(40)
    site.exchange(lease)
    clock.turn(10)
    clock.reboot(off_s=3600)
    clock.turn(3)
    assert site.held(file, "boot-2", not_after=BEGAN + 9000).remaining_s == pytest.approx(37)


def test_what_is_left_is_saved_now_and_then_without_any_answer(
    site: Site, clock: Clock, file: Path
) -> None:
    site.not_after = BEGAN + 300
    lease = booted(site, file)
    clock.turn(SAVE_EVERY_S)
    lease.keep()
    clock.reboot()
    assert site.held(file, "boot-2").remaining_s == pytest.approx(300 - SAVE_EVERY_S)


def test_reboots_without_a_provisioner_still_end_the_lease(
    site: Site, clock: Clock, file: Path
) -> None:
    first, lease = site.grant(), booted(site, file)
    for number in range(10):
        clock.turn(SAVE_EVERY_S)
        lease.keep()
        clock.reboot()
        lease = Lease(file, f"boot-{number}", clock, site.verifier().verified, first)
    assert lease.expired


def test_a_new_lease_in_the_configuration_replaces_the_old_state(
    site: Site, clock: Clock, file: Path
) -> None:
    booted(site, file)
    clock.reboot()
    assert site.held(file, "boot-2", lease="lse_2").remaining_s == pytest.approx(60)


@pytest.mark.parametrize("text", ['{"lease": "lse_1", "boot_', "[]", '{"lease": "lse_1"}'])
def test_a_damaged_state_file_falls_back_to_the_configuration(
    site: Site, file: Path, text: str
) -> None:
    booted(site, file)
    file.write_text(text)
    assert site.held(file, not_after=BEGAN + 500).remaining_s == pytest.approx(400)


def test_a_lease_that_cannot_be_saved_still_runs_down(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lease = booted(site, tmp_path / "file" / "lease.json")
    site.clock.turn(60)
    assert lease.expired


def test_a_grant_of_another_lease_changes_nothing(site: Site, file: Path) -> None:
    lease = booted(site, file)
    other = site.grant("nonce", lease="lse_2", not_after=BEGAN + 9000, sequence=99)
    lease.take(other, echo="nonce", sent_s=site.clock.now)
    assert lease.remaining_s == pytest.approx(60)


def test_without_a_grant_that_counts_nothing_changes_and_it_is_said_once(
    site: Site, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lease = booted(site, file)
    wrong = Site(clock=site.clock).grant("nonce", not_after=BEGAN + 9000)
    with caplog.at_level(logging.WARNING):
        for signed in (wrong, None, SignedGrant("{}", "AAAA"), wrong):
            lease.take(signed, echo="nonce", sent_s=site.clock.now)
    assert lease.remaining_s == pytest.approx(60)
    assert len(caplog.records) == 1


def test_without_any_grant_nothing_expires_until_one_comes(site: Site, file: Path) -> None:
    lease = Lease(file, "boot-1", site.clock, site.verifier().verified, None)
    site.clock.turn(1e6)
    assert not lease.expired
    assert lease.state(locked=False) is None
    site.exchange(lease)
    assert lease.expired


def test_the_ramdisk_has_no_lease(site: Site, file: Path) -> None:
    lease = Lease(file, "boot-1", site.clock, None, None)
    site.exchange(lease)
    assert lease.remaining_s is None
    assert not file.exists()


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"server": "srv_2"}, "srv_2"), ({"serial": "ILSRV02"}, "serial"), ({"serial": ""}, "serial")],
)
def test_a_grant_for_another_machine_is_refused(
    site: Site, changes: dict[str, object], why: str
) -> None:
    with pytest.raises(GrantRefused, match=why):
        site.verifier().verified(site.grant(**changes))


@pytest.mark.parametrize(
    ("firmware", "counts"), [("ILSRV01\n", True), ("\n", True), ("ILSRV02\n", False)]
)
def test_the_firmwares_serial_number_must_not_say_otherwise(
    site: Site, tmp_path: Path, firmware: str, counts: bool
) -> None:
    (tmp_path / "serial").write_text(firmware)
    verifier = site.verifier(tmp_path / "serial")
    if counts:
        assert verifier.verified(site.grant()).serial == "ILSRV01"
    else:
        with pytest.raises(GrantRefused, match="ILSRV02"):
            verifier.verified(site.grant())


def test_a_changed_grant_is_refused(site: Site) -> None:
    signed = site.grant()
    longer = json.dumps({**json.loads(signed.grant), "not_after": BEGAN + 9000})
    with pytest.raises(GrantRefused, match="not signed"):
        site.verifier().verified(SignedGrant(longer, signed.signature))


def test_a_signed_text_that_is_no_grant_is_refused(site: Site) -> None:
    text = '{"lease": "lse_1"}'
    signature = base64.b64encode(site.key.sign(text.encode())).decode()
    with pytest.raises(GrantRefused, match="missing"):
        site.verifier().verified(SignedGrant(text, signature))
    with pytest.raises(GrantRefused, match="base64"):
        site.verifier().verified(SignedGrant(text, "%"))
