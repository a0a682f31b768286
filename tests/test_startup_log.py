"""What the daemon's log says at its start and its end: enough to know what runs, and no secret."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.domain.lifecycle import State
from provisioner.settings import Settings
from provisioner.startup import facts


def told(settings: Settings, **others: object) -> dict[str, str]:
    given = {"addresses": [], "servers": {}, "loops": []} | others
    return dict(line.split(": ", 1) for line in facts(settings, **given))  # type: ignore[arg-type]


def test_the_daemon_says_what_runs_and_when_it_stops(tmp_path: Path) -> None:
    (tmp_path / "ironlease.db").touch(0o600)
    environment = os.environ | {
        "IRONLEASE_DATA_DIR": str(tmp_path),
        "IRONLEASE_LISTEN_PORT": "0",
        "IRONLEASE_PUBLIC_URL": "https://gpus.example.com",
        "DATABASE_URL": "",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "provisioner"], env=environment, stderr=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stderr is not None
        lines = []
        for line in daemon.stderr:
            lines.append(line)
            if "loops: " in line:
                daemon.send_signal(signal.SIGTERM)
    log = "".join(lines)
    assert daemon.returncode == 0
    for fact in (
        r"Ironlease \d+\.\d+\.\d+ started",
        rf"database: sqlite:///{tmp_path}/ironlease.db$",
        r"listens on: http://127\.0\.0\.1:[1-9]\d*$",
        r"people's URL: https://gpus\.example\.com$",
        r"servers: none enrolled$",
        r"loops: .*\breconciler\b.*\bjudge\b.*\bsensors\b",
        r"SIGTERM: stopping",
        r"Stopped\.$",
    ):
        assert re.search(fact, log, re.MULTILINE), f"{fact} is not in\n{log}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ironlease:hunter2@db.example.com:5432/fleet",
        "postgresql://ironlease@db.example.com:5432/fleet?password=hunter2",
    ],
)
def test_no_password_is_in_the_log(url: str) -> None:
    said = told(Settings(DATABASE_URL=url))
    assert "hunter2" not in str(said)
    assert re.fullmatch(
        r"postgresql://ironlease(:\*+)?@db.example.com:5432/fleet", said["database"]
    )


def test_a_password_in_a_url_for_people_is_not_in_the_log() -> None:
    assert "hunter2" not in str(told(Settings(public_url="https://me:hunter2@gpus.example.com")))


def test_what_matters_of_site_and_network_is_told() -> None:
    said = told(
        Settings(
            site="r1",
            netboot_interface="eth1",
            machine_networks=["10.77.0.0/24"],
            switch_run_dir=Path("/run/openvswitch"),
        ),
        addresses=[("127.0.0.1", 8080), ("::1", 8080, 0, 0), "/run/ironlease.sock"],
        servers={State.AVAILABLE: 3, State.LEASED: 2},
        loops=["reconciler", "judge"],
    )
    assert said["site"] == "r1"
    assert said["listens on"] == (
        "http://127.0.0.1:8080, http://[::1]:8080, unix:/run/ironlease.sock"
    )
    assert said["netboot"] == "DHCP and TFTP on eth1, as 10.77.0.1/24"
    assert said["machines and agents"] == "http://127.0.0.1:8080, from 10.77.0.0/24 only"
    assert said["switch"] == "Open vSwitch bridge br0 (/run/openvswitch)"
    assert said["servers"] == "5 enrolled (3 available, 2 leased)"
    assert said["loops"] == "reconciler, judge"


def test_what_is_left_to_others_is_told_too() -> None:
    said = told(Settings())
    assert said["site"] == "all"
    assert said["netboot"] == "left to something else; this process serves no DHCP or TFTP"
    assert said["switch"] == "none under control; servers share one network"
