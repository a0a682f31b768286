"""The customer's programs before the end: real processes, on the real boot clock."""

import os
from pathlib import Path

import pytest
from agent_grants import Site

from agent import hooks, host
from agent.lease import Lease


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "before-end.d"
    folder.mkdir()
    return folder


def program(folder: Path, name: str, text: str, mode: int = 0o755) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(mode)
    return file


def run(folder: Path, left_s: float) -> float:
    """Run them with this much time left; return how long it took."""
    site = Site()
    began = host.boottime()
    site.clock.now = began
    lease = Lease(folder / ".state", "b", host.boottime, site.verifier().verified, None)
    site.end_in(left_s)
    lease.take(site.grant("nonce"), echo="nonce", sent_s=began)
    assert lease.held is not None
    hooks.run_all(lease, lease.held, host.boottime, folder)
    return host.boottime() - began


def test_they_run_in_order_and_know_the_lease(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the agent")
    names = ("0", "IRONLEASE_LEASE", "IRONLEASE_ENDS_AT", "IRONLEASE_REMAINING_S", "SECRET")
    say = f'echo "{" ".join(f"${name}" for name in names)}" >>{tmp_path}/said'
    program(folder, "20-last", say)
    program(folder, "10-first", say)
    program(folder, "15-not", say, mode=0o644)
    program(folder, ".15-hidden", say)
    run(folder, 120)
    said = [line.split() for line in (tmp_path / "said").read_text().splitlines()]
    assert [Path(name).name for name, *_ in said] == ["10-first", "20-last"]
    assert [rest[:2] for _, *rest in said] == [["lse_1", "2027-01-15T08:02:00Z"]] * 2
    assert all(110 <= int(rest[2]) <= 120 and len(rest) == 3 for _, *rest in said)


def test_one_that_hangs_is_killed_with_its_children_and_the_next_still_runs(
    folder: Path, tmp_path: Path
) -> None:
    program(folder, "10-hangs", f"sleep 1000 & echo $! >{tmp_path}/child; trap '' TERM; wait; wait")
    program(folder, "20-next", f"touch {tmp_path}/next")
    assert run(folder, 6.5) < 6.5
    assert (tmp_path / "next").exists()
    child = int((tmp_path / "child").read_text())
    for _ in range(100_000):
        if not alive(child):
            return
    raise AssertionError("the child lives on")


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_none_is_started_when_no_time_is_left(folder: Path, tmp_path: Path) -> None:
    program(folder, "10-late", f"touch {tmp_path}/late")
    run(folder, 4)
    assert not (tmp_path / "late").exists()


def test_what_cannot_be_run_stops_none_of_the_others(folder: Path, tmp_path: Path) -> None:
    (folder / "10-broken").write_bytes(b"\0")
    (folder / "10-broken").chmod(0o755)
    program(folder, "20-fails", "exit 3")
    program(folder, "30-runs", f"touch {tmp_path}/ran")
    run(folder, 120)
    assert (tmp_path / "ran").exists()


def test_without_a_folder_nothing_is_run(tmp_path: Path) -> None:
    assert hooks.executables(tmp_path / "absent") == []


def test_what_a_program_leaves_running_is_the_customers(folder: Path, tmp_path: Path) -> None:
    program(folder, "10-leaves", f"sleep 60 & echo $! >{tmp_path}/child")
    run(folder, 120)
    child = int((tmp_path / "child").read_text())
    assert alive(child)
    os.kill(child, 9)
