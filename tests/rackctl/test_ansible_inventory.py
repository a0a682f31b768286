"""The dynamic inventory, as plain Ansible uses it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from rackctl_service import Rackctl, Service

SCRIPT = Path(__file__).parents[2] / "inventory" / "ironlease.py"


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    # With the system's Python, as when no environment is activated.
    system = shutil.which("python3", path=os.defpath) or sys.executable
    return subprocess.run(
        [system, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )


def test_servers_are_grouped_by_what_they_are(rackctl: Rackctl) -> None:
    ran = ask("--list")

    listed = json.loads(ran.stdout)
    assert listed["class_lab_2nvme"]["hosts"] == ["r1-u01", "r1-u02", "r1-u03", "r1-u04"]
    assert listed["state_quarantined"]["hosts"] == ["r1-u03"]
    assert listed["leased"]["hosts"] == []
    assert listed["_meta"]["hostvars"]["r1-u02"]["ansible_host"] == "10.77.0.12"
    assert json.loads(ask("--host", "r1-u02").stdout)["ironlease_state"] == "sanitising"


def test_ansible_itself_understands_it(rackctl: Rackctl, service: Service) -> None:
    ansible = Path(sys.executable).parent / "ansible"

    ran = subprocess.run(
        [str(ansible), "-i", str(SCRIPT), "rack_r1:!state_quarantined", "--list-hosts"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert [line.strip() for line in ran.stdout.splitlines()[1:]] == ["r1-u01", "r1-u02", "r1-u04"]


def test_without_a_login_it_says_so(home: Path) -> None:
    ran = ask("--list")

    assert ran.returncode == 2
    assert "rackctl login" in ran.stderr
