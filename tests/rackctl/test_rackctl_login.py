"""Who connects and where: login, token files, exit codes, errors without a traceback."""

import socket
from pathlib import Path

import pytest
from rackctl_service import Rackctl, Service

from provisioner.rackctl.config import token_file


def test_login_saves_the_token_for_its_owner_alone(
    bare_rackctl: Rackctl, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRONLEASE_URL", service.url)

    ran = bare_rackctl("login", "--token-stdin", stdin=service.token + "\n")

    assert ran.code == 0, ran.err
    assert token_file().stat().st_mode & 0o777 == 0o600
    assert service.token not in ran.out + ran.err
    assert "admin@localhost" in bare_rackctl("whoami").out


def test_a_wrong_token_is_not_saved(
    bare_rackctl: Rackctl, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRONLEASE_URL", service.url)

    ran = bare_rackctl("login", "--token-stdin", stdin="il_wrong\n")

    assert ran.code == 1
    assert "unknown, expired or revoked" in ran.err
    assert "il_wrong" not in ran.err
    assert not token_file().exists()


@pytest.mark.parametrize("text", ["", "\n", "two words\n", "ünïcode\n", "\x00\n"])
def test_what_cannot_be_a_token_is_not_sent(bare_rackctl: Rackctl, text: str) -> None:
    assert bare_rackctl("login", "--token-stdin", stdin=text).code == 2


def test_a_token_file_that_others_can_read_is_refused(bare_rackctl: Rackctl) -> None:
    token_file().parent.mkdir(parents=True)
    token_file().write_text("il_secret")
    token_file().chmod(0o644)

    ran = bare_rackctl("server", "list")

    assert ran.code == 2
    assert f"chmod 600 {token_file()}" in ran.err


def test_without_a_token_the_way_to_log_in_is_told(bare_rackctl: Rackctl) -> None:
    ran = bare_rackctl("server", "list")

    assert ran.code == 2
    assert "rackctl login --token-stdin" in ran.err


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def test_an_unreachable_service_exits_with_3_and_says_what_to_check(
    bare_rackctl: Rackctl,
) -> None:
    url = f"http://127.0.0.1:{closed_port()}"

    ran = bare_rackctl("--url", url, "--token", "il_secret", "server", "list")

    assert ran.code == 3
    assert f"no answer from {url}" in ran.err
    assert "check that the provisioner is running" in ran.err
    assert "il_secret" not in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://[bad", "http://h:port"])
def test_what_is_no_address_is_a_usage_error(bare_rackctl: Rackctl, url: str) -> None:
    ran = bare_rackctl("--url", url, "--token", "il_x", "server", "list")

    assert ran.code == 2
    assert "is not a valid URL" in ran.err


def test_something_that_is_no_provisioner_is_recognised(
    bare_rackctl: Rackctl, service: Service
) -> None:
    ran = bare_rackctl("--url", f"{service.url}/elsewhere", "--token", "il_x", "server", "list")

    assert ran.code == 1
    assert "is the address of a provisioner" in ran.err


def test_a_customer_is_refused_what_is_an_operators(rackctl: Rackctl) -> None:
    token = rackctl("account", "token", "ada@example.com", "--name", "t").out.strip()

    ran = rackctl("--token", token, "server", "list")

    assert ran.code == 1
    assert "this needs the role operator; yours is customer" in ran.err


def test_no_command_and_wrong_options_are_usage_errors(bare_rackctl: Rackctl) -> None:
    assert bare_rackctl("no-such-command").code == 2
    assert bare_rackctl("server", "list", "--no-such-option").code == 2
    assert bare_rackctl("server", "list", "-o", "xml").code == 2
    assert bare_rackctl("--help").code == 0


def test_colours_are_for_terminals_and_can_be_turned_off(rackctl: Rackctl) -> None:
    assert "\x1b[" not in rackctl("--no-color", "server", "list").out
    assert "\x1b[" not in rackctl("server", "list").out


def test_server_names_are_completed(
    rackctl: Rackctl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_RACKCTL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "rackctl server show r1-u0")
    monkeypatch.setenv("COMP_CWORD", "3")

    ran = rackctl()

    assert ran.out.split() == ["r1-u01", "r1-u02", "r1-u03", "r1-u04"]


def test_completion_is_silent_without_a_service(
    bare_rackctl: Rackctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRONLEASE_URL", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("IRONLEASE_TOKEN", "il_x")
    monkeypatch.setenv("_RACKCTL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "rackctl server show r1-u0")
    monkeypatch.setenv("COMP_CWORD", "3")

    ran = bare_rackctl()

    assert (ran.out.strip(), ran.err) == ("", "")
