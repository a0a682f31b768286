"""What closing and opening a system runs, with simulated commands; `tests/lab` does it for real."""

from pathlib import Path

import pytest

from agent import access
from agent.access import AccessError, SystemAccess

COMMANDS = ("nft", "systemctl", "usermod", "loginctl")


class System:
    """Commands that record how they were called; those in `failing` fail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in COMMANDS:
            self.command(name)

    def command(self, name: str, status: int = 0) -> None:
        file = self._folder / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>{self._folder}/calls\nexit {status}\n')
        file.chmod(0o755)

    def without(self, name: str) -> None:
        (self._folder / name).unlink()

    def calls(self) -> list[str]:
        """Return the calls since the last time, by their first words."""
        file = self._folder / "calls"
        calls = file.read_text().splitlines()
        file.unlink()
        return [call for call in calls if not call.startswith("loginctl")]


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(access, "_end_sessions", list)  # whoever runs the tests stays logged in
    monkeypatch.setattr(access, "_login_users", lambda: ["root", "ada"])
    return System(tmp_path)


@pytest.fixture
def tenants() -> SystemAccess:
    return SystemAccess("http://10.77.0.1:8080")


def test_the_network_is_closed_first_and_then_every_way_to_log_in(
    system: System, tenants: SystemAccess
) -> None:
    tenants.close()
    assert system.calls() == [
        "nft -f -",
        "systemctl stop ssh.s* sshd.s*",
        "usermod --expiredate 1 root",
        "usermod --expiredate 1 ada",
    ]
    tenants.open()
    assert system.calls() == [
        "nft -f -",
        "usermod --expiredate  root",
        "usermod --expiredate  ada",
        "systemctl start ssh.service",
    ]


def test_one_failure_keeps_nothing_else_from_being_done(
    system: System, tenants: SystemAccess
) -> None:
    system.command("systemctl", status=1)
    with pytest.raises(AccessError, match="systemctl stop"):
        tenants.close()
    assert len(system.calls()) == 4


@pytest.mark.parametrize("broken", ["missing", "failing"])
def test_without_nftables_the_rest_is_closed_and_it_is_said_once(
    system: System, tenants: SystemAccess, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    if broken == "missing":
        system.without("nft")
    else:
        system.command("nft", status=1)
    for _ in range(2):
        tenants.close()
    assert [record.getMessage()[:22] for record in caplog.records] == ["the network stays open"]
    system.calls()
    tenants.open()
    assert "nft -f -" not in system.calls()
