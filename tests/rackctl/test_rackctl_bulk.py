"""rackctl server on many servers: chosen by name, stdin or selector; each with its own outcome."""

import json
import threading
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rackctl_service import Rackctl, Service
from sqlmodel import select

from provisioner.domain.health.levels import HealthLevel
from provisioner.domain.lifecycle import State
from provisioner.rackctl import bulk
from provisioner.rackctl.client import JsonObject
from provisioner.rackctl.errors import ExitCode, Failed, Unreachable, UsageFault
from provisioner.rackctl.selector import HEALTH, STATES, parse
from provisioner.rackctl.selector import select as selected
from provisioner.store.tables import Server

WHY = ("--reason", "new firmware")
ALL = ("r1-u01", "r1-u02", "r1-u03", "r1-u04")


async def make_all_available(service: Service) -> None:
    async with service.database.write() as session:
        for server in (await session.exec(select(Server))).all():
            server.state = State.AVAILABLE


@pytest.fixture
def available(service: Service) -> None:
    service.background.run(make_all_available(service))


def outcomes(out: str) -> dict[str, JsonObject]:
    return {item["server"]: item for item in json.loads(out)["items"]}


@pytest.mark.usefixtures("available")
def test_several_names_are_done_together_after_one_confirmation(
    rackctl: Rackctl, service: Service
) -> None:
    service.background.start(
        service.carry_out(2, {"r1-u01": State.MAINTENANCE, "r1-u02": State.MAINTENANCE})
    )

    ran = rackctl("server", "maintain", "r1-u01", "r1-u02", *WHY, "-o", "json", typed="2")

    assert ran.code == 0, ran.err
    assert "Type 2 to go ahead" in ran.out + ran.err
    done = {name: item["state"] for name, item in outcomes(_json(ran.out)).items()}
    assert done == {"r1-u01": "maintenance", "r1-u02": "maintenance"}
    assert "2 of 2 done, 0 failed." in ran.err
    assert "[2/2]" in ran.err


def _json(out: str) -> str:
    """The document alone: a prompt's answer may be before it."""
    return out[out.index("{") :]


@pytest.mark.usefixtures("available")
@pytest.mark.parametrize("typed", ["y", "r1-u01", "3"])
def test_another_number_does_nothing(rackctl: Rackctl, typed: str) -> None:
    ran = rackctl("server", "maintain", "r1-u01", "r1-u02", *WHY, typed=typed)

    assert ran.code == 1
    assert json.loads(rackctl("server", "requests", "r1-u01", "-o", "json").out)["items"] == []


def test_several_servers_are_never_changed_unasked(rackctl: Rackctl) -> None:
    ran = rackctl("server", "validate", "r1-u01", "r1-u02")

    assert ran.code == 2
    assert "--yes" in ran.err


def test_one_failure_does_not_stop_the_others_and_has_its_reason(rackctl: Rackctl) -> None:
    names = ("r1-u02", "nowhere", "r1-u01")

    ran = rackctl("server", "maintain", *names, *WHY, "--yes", "--no-wait")

    lines = {line.split()[0]: line for line in ran.out.splitlines()}
    assert ran.code == ExitCode.PARTIAL
    assert "waiting" in lines["r1-u01"]
    assert "'maintain' cannot be requested now" in lines["r1-u02"]
    assert "there is no server 'nowhere'" in lines["nowhere"]
    assert "1 of 3 done, 2 failed." in ran.err


def test_if_all_fail_the_exit_code_is_theirs(rackctl: Rackctl) -> None:
    ran = rackctl("server", "resume", "r1-u01", "r1-u02", "--yes")

    assert ran.code == 1


@pytest.mark.usefixtures("available")
def test_names_are_read_from_stdin(rackctl: Rackctl) -> None:
    ran = rackctl(
        *("server", "maintain", "-", *WHY, "--yes", "--no-wait", "-o", "json"),
        stdin="r1-u01\nr1-u02 r1-u01\n",
    )

    assert list(outcomes(ran.out)) == ["r1-u01", "r1-u02"]


@pytest.mark.usefixtures("available")
def test_servers_are_chosen_by_selector(rackctl: Rackctl) -> None:
    ran = rackctl(
        *("server", "maintain", "--selector", "site=lab,rack=r1,state=available,health=unknown"),
        *(*WHY, "--yes", "--no-wait", "-o", "json"),
    )

    assert tuple(outcomes(ran.out)) == ALL


def test_a_dry_run_tells_what_would_be_done_and_does_nothing(rackctl: Rackctl) -> None:
    ran = rackctl("server", "maintain", *ALL[:2], "nowhere", *WHY, "--dry-run")

    lines = {line.split()[0]: line for line in ran.out.splitlines()}
    assert ran.code == 0
    assert lines["r1-u01"].split()[1:] == ["available", "maintain"]
    assert "allowed: quarantine" in lines["r1-u02"]
    assert "there is no server" in lines["nowhere"]
    assert "would be requested of 1 servers, and 2 refused" in ran.err
    assert json.loads(rackctl("server", "requests", "r1-u01", "-o", "json").out)["items"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no server is named"),
        (("-",), "no server is named"),
        (("r1-u01", "--selector", "rack=r1"), "not both"),
        (("--selector", "colour=red"), "known keys: site, rack, class, state, health"),
        (("--selector", "state=avalable"), "available"),
        (("--selector", "rack=r9"), "known: r1"),
        (("--selector", "rack="), "no value"),
        (("--selector", ""), "unknown key"),
    ],
)
def test_a_choice_that_cannot_be_right_is_refused_with_what_is_known(
    rackctl: Rackctl, arguments: tuple[str, ...], said: str
) -> None:
    ran = rackctl("server", "maintain", *arguments, *WHY, "--yes")

    assert ran.code == 2
    assert said in ran.err


def test_a_selector_that_matches_nothing_says_so(rackctl: Rackctl) -> None:
    ran = rackctl("server", "validate", "--selector", "state=maintenance", "--yes")

    assert ran.code == 1
    assert "no server matches" in ran.err


def test_lists_take_the_same_selector(rackctl: Rackctl) -> None:
    ran = rackctl(
        *("server", "list", "--selector", "state=available,state=sanitising", "-o", "json")
    )

    assert [server["name"] for server in json.loads(ran.out)["items"]] == ["r1-u01", "r1-u02"]


def test_power_is_read_of_several(rackctl: Rackctl, service: Service) -> None:
    service.bmc.silent.add("10.78.0.12")

    ran = rackctl("server", "power", "r1-u01", "r1-u02")

    assert ran.code == ExitCode.PARTIAL
    assert "on" in ran.out
    assert "does not answer" in ran.out


def test_the_known_states_and_levels_are_the_services() -> None:
    assert set(STATES) == set(State)
    assert set(HEALTH) == {*HealthLevel, "unknown"}


def server(name: str, **values: object) -> JsonObject:
    plain: JsonObject = {"site": "s", "rack": "a", "class": "c", "state": "leased", "health": None}
    return {"name": name, **plain, **values}


def test_commas_mean_and_while_a_repeated_key_means_or() -> None:
    servers = [
        server("1", rack="a", state="available"),
        server("2", rack="b", state="available"),
        server("3", rack="b", state="leased", health={"level": "faulty"}),
        server("4", rack="c", state="available"),
    ]

    def names(*texts: str) -> list[str]:
        return [found["name"] for found in selected(servers, parse(texts))]

    assert names("rack=a,rack=b,state=available") == ["1", "2"]
    assert names("rack=a", "rack=b", "state=leased") == ["3"]
    assert names("health=faulty") == ["3"]
    assert names("health=unknown, rack=c") == ["4"]


@given(st.text())
def test_any_text_is_a_selector_or_a_usage_error(text: str) -> None:
    try:
        parse([text])
    except UsageFault as fault:
        assert fault.next_action


def test_at_most_so_many_are_worked_on_at_a_time() -> None:
    running, most, lock = [0], [0], threading.Lock()
    three = threading.Barrier(3, timeout=30)

    def work(name: str, stop: Event) -> JsonObject:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        three.wait()
        with lock:
            running[0] -= 1
        return {}

    done = bulk.each([str(number) for number in range(9)], work, parallel=3)

    assert most[0] == 3
    assert [outcome.server for outcome in done] == [str(number) for number in range(9)]


def test_the_exit_code_says_whether_some_or_all_failed() -> None:
    done = bulk.Outcome("a", answer={})
    refused = bulk.Outcome("b", error=Failed("no"))
    away = bulk.Outcome("c", error=Unreachable("no answer"))

    assert bulk.exit_code([done]) == ExitCode.OK
    assert bulk.exit_code([done, refused]) == ExitCode.PARTIAL
    assert bulk.exit_code([refused, refused]) == ExitCode.REFUSED
    assert bulk.exit_code([away]) == ExitCode.UNREACHABLE
    assert bulk.exit_code([away, refused]) == ExitCode.REFUSED
