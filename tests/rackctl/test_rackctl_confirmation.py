"""Nothing destructive happens unasked, and what was asked for is waited for and shown."""

import json
from collections.abc import Iterator

import pytest
from rackctl_service import Rackctl, Service

from provisioner.domain.lifecycle import State
from provisioner.rackctl.commands import requests

WHY = ("--reason", "fan 3 is loud")


def requested(rackctl: Rackctl, name: str) -> list[str]:
    listed = json.loads(rackctl("server", "requests", name, "-o", "json").out)["items"]
    return [request["verb"] for request in listed]


DESTRUCTIVE = [
    ("quarantine", "r1-u01", *WHY),
    ("wipe", "r1-u01"),
    ("retire", "r1-u01"),
    ("image", "r1-u01", "--image", "debian-12", "--key", "laptop"),
    ("power", "r1-u03", "off"),
    ("power", "r1-u03", "cycle"),
    ("power", "r1-u03", "reset"),
    ("power", "r1-u03", "shutdown"),
]


@pytest.mark.parametrize("command", DESTRUCTIVE, ids=" ".join)
def test_without_a_terminal_a_destructive_command_is_refused_and_names_yes(
    rackctl: Rackctl, command: tuple[str, ...]
) -> None:
    ran = rackctl("server", *command)

    assert ran.code == 2
    assert "--yes" in ran.err
    assert requested(rackctl, command[1]) == []


@pytest.mark.parametrize("typed", ["", "y", "r1-u02", "yes"])
def test_another_answer_than_the_name_does_nothing(rackctl: Rackctl, typed: str) -> None:
    ran = rackctl("server", "quarantine", "r1-u01", *WHY, typed=typed)

    assert ran.code == 1
    assert "nothing was done" in ran.err
    assert requested(rackctl, "r1-u01") == []


def test_the_typed_name_goes_ahead(rackctl: Rackctl) -> None:
    ran = rackctl("server", "quarantine", "r1-u01", *WHY, "--no-wait", typed="r1-u01")

    assert ran.code == 0, ran.err
    assert "Type r1-u01 to go ahead" in ran.out + ran.err
    assert requested(rackctl, "r1-u01") == ["quarantine"]


@pytest.mark.parametrize("command", ["quarantine", "maintain"])
@pytest.mark.parametrize("reason", [(), ("--reason", " ")])
def test_who_takes_a_server_away_says_why(
    rackctl: Rackctl, command: str, reason: tuple[str, ...]
) -> None:
    ran = rackctl("server", command, "r1-u01", "--yes", *reason)

    assert ran.code == 2
    assert "--reason" in ran.err
    assert requested(rackctl, "r1-u01") == []


def test_the_new_state_is_awaited_and_printed(rackctl: Rackctl, service: Service) -> None:
    service.background.start(service.carry_out(1, {"r1-u01": State.QUARANTINED}))

    ran = rackctl("server", "quarantine", "r1-u01", *WHY, "--yes")

    assert ran.code == 0, ran.err
    assert "quarantined" in ran.out
    assert "available" not in ran.out


def test_as_json_it_is_the_request_with_its_outcome_and_the_new_state(
    rackctl: Rackctl, service: Service
) -> None:
    service.background.start(service.carry_out(1, {"r1-u01": State.MAINTENANCE}))

    ran = rackctl("server", "maintain", "r1-u01", *WHY, "-o", "json")

    [item] = json.loads(ran.out)["items"]
    assert (item["server"], item["state"]) == ("r1-u01", "maintenance")
    assert item["request"]["outcome"] == "done"
    assert item["request"]["reason"] == "fan 3 is loud"


def test_a_request_that_fails_is_a_failure_with_its_reason(
    rackctl: Rackctl, service: Service
) -> None:
    service.background.start(service.carry_out(1, {}, failing="r1-u01"))

    ran = rackctl("server", "maintain", "r1-u01", *WHY)

    assert ran.code == 1
    assert "the ramdisk does not answer" in ran.err


def test_a_wait_that_runs_out_of_time_exits_with_4_and_the_request_stands(
    rackctl: Rackctl,
) -> None:
    ran = rackctl("server", "maintain", "r1-u01", *WHY, "--timeout", "0s")

    assert ran.code == 4
    assert "the request stands" in ran.err
    assert requested(rackctl, "r1-u01") == ["maintain"]


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ctrl-C at the first pause."""

    class Interrupt:
        def wait(self, seconds: float) -> bool:
            raise KeyboardInterrupt

        def set(self) -> None:
            pass

    monkeypatch.setattr(requests, "Event", Interrupt)
    monkeypatch.setattr("provisioner.rackctl.bulk.Event", Interrupt)
    yield


@pytest.mark.usefixtures("interrupting")
def test_ctrl_c_while_waiting_says_that_the_request_stands(rackctl: Rackctl) -> None:
    ran = rackctl("server", "maintain", "r1-u01", *WHY)

    assert ran.code == 130
    assert "stand" in ran.err
    assert "rackctl server requests r1-u01" in ran.err
    assert requested(rackctl, "r1-u01") == ["maintain"]


def test_a_service_that_is_away_for_a_moment_does_not_end_the_wait(
    rackctl: Rackctl, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from provisioner.rackctl.client import Api
    from provisioner.rackctl.errors import Unreachable

    plainly, away = Api.get, ["once", "twice"]

    def get(self: Api, address: str, parameters: object = None) -> object:
        if address.endswith("/requests") and away:
            away.pop()
            raise Unreachable("it restarts")
        return plainly(self, address, parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(Api, "get", get)
    service.background.start(service.carry_out(1, {"r1-u01": State.MAINTENANCE}))

    assert rackctl("server", "maintain", "r1-u01", *WHY).code == 0
