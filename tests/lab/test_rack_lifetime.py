"""A rack's life: up once, down without a trace, and cleaned up after a killed rack process."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from ruamel.yaml import YAML
from typer.testing import CliRunner

from lab.__main__ import app
from lab.rack import Rack, RackError, RackIsUp, RackNotUp
from lab.rack.namespaces import FOLDER, fabric
from lab.rack.plan import data_folder, run_folder
from lab.testing import rack

pytestmark = [pytest.mark.lab, pytest.mark.root]

NAME = "iltl"


@pytest.fixture
def running() -> Iterator[Rack]:
    with rack(1, NAME, disk_size="64M", memory_mib=128) as it:
        yield it


def lab(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def traces() -> list[Path]:
    places = [run_folder(NAME), data_folder(NAME), FOLDER / NAME, FOLDER / fabric(NAME)]
    return [place for place in places if place.exists()]


def test_command_line_brings_a_rack_up_shows_it_and_takes_it_down() -> None:
    Rack.down(NAME)
    hardware = ["--machine", "1:disk=ahci,nic=e1000,bmc=out-of-band"]
    up = lab("up", "--servers", "1", "--name", NAME, "--disk-size", "64M", *hardware)
    try:
        assert up.exit_code == 0, up.stderr
        again = lab("up", "--servers", "1", "--name", NAME)
        assert (again.exit_code, "is already up" in again.stdout) == (0, True)
        lab("fault", "bmc-drop", "r1-u01", "--name", NAME)
        lab("fault", "cable-pull", "r1-u01", "--name", NAME)
        (shown,) = json.loads(lab("status", "--name", NAME, "-o", "json").stdout)
        assert shown["servers"][0]["bmc"]["fault"] == "drop"
        assert shown["servers"][0]["port"]["up"] is False
    finally:
        down = lab("down", "--name", NAME)
    assert down.exit_code == 0, down.stderr
    assert traces() == []
    assert lab("status", "--name", NAME).exit_code == 1


def test_unknown_hardware_is_refused_before_anything_starts() -> None:
    up = lab("up", "--name", NAME, "--machine", "1:disk=floppy")
    assert (up.exit_code, "does not describe a server's hardware" in up.stderr) == (1, True)
    assert traces() == []


def test_second_up_of_a_running_rack_is_refused_and_harms_nothing(running: Rack) -> None:
    with pytest.raises(RackIsUp):
        Rack.up(NAME, 1)
    assert running.status()["servers"][0]["power"] == "off"


def test_inventory_file_says_what_the_rack_has(running: Rack) -> None:
    document = YAML(typ="safe").load(running.inventory_file)
    assert document == running.inventory()
    (server,) = document["servers"]
    assert server["bmc"]["address"] == running.servers[0].bmc_address
    assert [disk["serial"] for disk in server["expect"]["disks"]] == ["IL01-A", "IL01-B"]


def test_down_of_nothing_is_fine_and_asking_it_is_an_error() -> None:
    Rack.down(NAME)
    Rack.down(NAME)
    with pytest.raises(RackNotUp):
        Rack(NAME)


def test_killed_rack_process_takes_its_children_along_and_the_next_up_cleans_up(
    running: Rack,
) -> None:
    running.power("r1-u01", "on")
    before = running.status()
    server = before["servers"][0]
    children = [os.pidfd_open(pid) for pid in (server["pid"], server["bmc"]["pid"])]
    os.kill(before["pid"], signal.SIGKILL)
    for child in children:
        await_end(child)
    with pytest.raises(RackNotUp):
        running.status()
    assert traces()
    with Rack.up(NAME, 1, disk_size="64M") as fresh:
        assert fresh.status()["servers"][0]["power"] == "off"
        assert fresh.power("r1-u01", "on")
    assert traces() == []


def test_rack_that_cannot_start_says_why_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "ipmi_sim"
    broken.write_text("#!/bin/sh\necho no BMC today; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(RackError, match="the BMC of r1-u01 exited on start"):
        Rack.up(NAME, 1)
    assert traces() == []


def await_end(pidfd: int) -> None:
    """Wait (at most 10 s) for the process of a pidfd to end, and close the pidfd."""
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    assert ended.poll(10_000), "the process is still running"
    os.close(pidfd)
