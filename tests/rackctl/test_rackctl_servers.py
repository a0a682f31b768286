"""rackctl server: lists, pages, power, requests, against the real service."""

import json
import re

import pytest
from rackctl_fleet import BMC_PASSWORD, WHY
from rackctl_service import Rackctl, Service
from sqlmodel import select

from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import State
from provisioner.store.tables import Incident, Server


def test_the_list_says_state_step_for_how_long_and_why(rackctl: Rackctl) -> None:
    ran = rackctl("server", "list")

    lines = {line.split()[0]: line for line in ran.out.splitlines()}
    assert ran.code == 0
    assert "available" in lines["r1-u01"]
    assert re.search(r" \d+m(?:\d+s)? ", lines["r1-u01"])
    assert "sanitise/sanitise_disks" in lines["r1-u02"]
    assert WHY in lines["r1-u03"]
    assert "inspect/power_off (parked, attempt 3)" in lines["r1-u04"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["r1-u01", "r1-u02", "r1-u03", "r1-u04"]),
        (("--stuck",), ["r1-u03", "r1-u04"]),
        (("--state", "available"), ["r1-u01"]),
        (("--class", "lab-2nvme", "--state", "sanitising"), ["r1-u02"]),
        (("--rack", "elsewhere"), []),
    ],
)
def test_lists_are_filtered_and_are_the_apis_objects_as_json(
    rackctl: Rackctl, options: tuple[str, ...], names: list[str]
) -> None:
    ran = rackctl("server", "list", *options, "-o", "json")

    listed = json.loads(ran.out)
    assert [server["name"] for server in listed["items"]] == names
    assert listed["next"] is None
    assert all(server["state_since"].endswith("Z") for server in listed["items"])


def test_an_empty_list_says_so(rackctl: Rackctl) -> None:
    assert "none" in rackctl("server", "list", "--rack", "elsewhere").out


def test_a_quarantined_servers_page_has_all_that_explains_it(rackctl: Rackctl) -> None:
    ran = rackctl("server", "show", "r1-u03")

    assert ran.code == 0
    for expected in (
        WHY,
        "rackctl server repaired r1-u03",
        "repaired, reset, retire",
        "IL03-A",
        "cert_",
        "Open incidents",
        "sanitise, failed",
        "line 20 of the wipe",
    ):
        assert expected in ran.out, expected
    assert "line 5 of the wipe" not in ran.out


def test_a_healthy_servers_page_is_short(rackctl: Rackctl) -> None:
    ran = rackctl("server", "show", "r1-u01")

    assert "10.77.0.11 (52:54:00:77:00:01)" in ran.out
    assert "incidents" not in ran.out
    assert "Log of" not in ran.out


def test_a_page_as_json_is_the_apis_object(rackctl: Rackctl) -> None:
    server = json.loads(rackctl("server", "show", "r1-u04", "-o", "json").out)

    assert server["name"] == "r1-u04"
    assert server["operation"]["state"] == "parked"


def test_an_unknown_server_is_refused_with_what_to_do(rackctl: Rackctl) -> None:
    ran = rackctl("server", "show", "nowhere")

    assert ran.code == 1
    assert ran.out == ""
    assert "there is no server 'nowhere'" in ran.err
    assert "next: " in ran.err


def test_a_hostile_name_stays_a_name(rackctl: Rackctl) -> None:
    ran = rackctl("server", "show", "../accounts?x=#y")

    assert ran.code == 1
    assert "there is no server" in ran.err


def test_power_is_read_and_switched_by_request_in_quarantine(rackctl: Rackctl) -> None:
    before = rackctl("server", "power", "r1-u03")
    off = rackctl("server", "power", "r1-u03", "off", "--yes", "--no-wait", "-o", "json")
    switched = json.loads(off.out)["items"][0]["request"]

    assert "on" in before.out
    assert (switched["verb"], switched["outcome"]) == ("power_off", "waiting")
    assert "power_off" in rackctl("server", "requests", "r1-u03").out


def test_power_of_a_server_at_work_is_refused(rackctl: Rackctl, service: Service) -> None:
    refused = rackctl("server", "power", "r1-u02", "reset", "--yes")

    assert refused.code == 1
    assert "'reset' cannot be requested now" in refused.err
    assert service.bmc.powered == {}


def test_a_silent_bmc_is_reported_as_such(rackctl: Rackctl, service: Service) -> None:
    service.bmc.silent.add("10.78.0.11")

    ran = rackctl("server", "sensors", "r1-u01")

    assert ran.code == 1
    assert "BMC 10.78.0.11:623 does not answer" in ran.err
    assert "check the BMC's power, cable and address" in ran.err


def test_sensors_and_event_log_are_tables(rackctl: Rackctl) -> None:
    assert "CPU1 Temp" in rackctl("server", "sensors", "r1-u01").out
    assert "Power supply input lost" in rackctl("server", "event-log", "r1-u01").out


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("quarantine", "r1-u01"),
        ("maintain", "r1-u01"),
        ("repaired", "r1-u03"),
    ],
)
def test_requests_are_filed_with_their_reason(rackctl: Rackctl, verb: str, name: str) -> None:
    options = ("--reason", "fan 3 is loud", "--yes", "--no-wait", "-o", "json")
    ran = rackctl("server", verb, name, *options)

    assert json.loads(ran.out)["items"][0]["request"]["verb"] == verb
    server = json.loads(rackctl("server", "show", name, "-o", "json").out)
    assert [request["verb"] for request in server["requests"]] == [verb]
    assert "fan 3 is loud" in rackctl("audit", "--subject", server["id"]).out


def test_a_request_that_the_state_does_not_allow_says_what_is_allowed(rackctl: Rackctl) -> None:
    ran = rackctl("server", "resume", "r1-u01")

    assert ran.code == 1
    assert "'resume' cannot be requested now" in ran.err
    assert "maintain" in ran.err


@pytest.mark.parametrize("command", [("validate",), ("wipe",)])
def test_work_on_demand_is_for_maintenance(rackctl: Rackctl, command: tuple[str, ...]) -> None:
    ran = rackctl("server", *command, "r1-u01", "--yes")

    assert ran.code == 1
    assert "r1-u01 is available" in ran.err


def test_a_parked_operation_is_tried_again(rackctl: Rackctl) -> None:
    ran = rackctl("server", "retry", "r1-u04", "-o", "json")

    assert json.loads(ran.out)["items"][0]["state"] == "inspecting"
    server = json.loads(rackctl("server", "show", "r1-u04", "-o", "json").out)
    assert server["operation"]["state"] == "running"
    assert rackctl("server", "retry", "r1-u01").code == 1


def test_bmc_credentials_are_taken_from_stdin_and_never_shown(
    rackctl: Rackctl, service: Service
) -> None:
    ran = rackctl(
        "server", "set-bmc", "r1-u04", "--username", "root", "--password-stdin", stdin="n3w-one\n"
    )
    rackctl("server", "power", "r1-u04")

    assert ran.code == 0
    assert "n3w-one" not in ran.out + ran.err
    assert service.bmc.passwords["10.78.0.14"] == "n3w-one"


def test_no_command_shows_a_bmc_password(rackctl: Rackctl) -> None:
    shown = "".join(
        rackctl(*command).out
        for command in (
            ("server", "list", "-o", "json"),
            ("server", "show", "r1-u03", "-o", "json"),
            ("server", "show", "r1-u03"),
            ("audit",),
        )
    )

    assert BMC_PASSWORD not in shown
    assert "secret" not in shown


def test_set_bmc_without_a_terminal_wants_the_password_on_stdin(rackctl: Rackctl) -> None:
    ran = rackctl("server", "set-bmc", "r1-u04", "--username", "root")

    assert ran.code == 2
    assert "stdin" in ran.err


def test_certificates_are_listed(rackctl: Rackctl) -> None:
    ran = rackctl("server", "certificates", "r1-u03")

    assert "IL03-B" in ran.out
    assert "nvme_format_crypto" in ran.out


def test_incidents_are_listed_with_what_to_do(rackctl: Rackctl) -> None:
    ran = rackctl("incident", "list")

    assert "r1-u03" in ran.out
    assert "rackctl server set-bmc" in ran.out
    assert len(json.loads(rackctl("incident", "list", "--all", "-o", "json").out)["items"]) == 2


def test_watch_shows_every_server_and_leaves_after_its_rounds(rackctl: Rackctl) -> None:
    ran = rackctl("watch", "--rounds", "1", "-o", "json")

    assert len(json.loads(ran.out)["items"]) == 4


def test_a_leased_server_with_a_fault_is_stuck_with_its_reason_and_next_action(
    rackctl: Rackctl, service: Service
) -> None:
    swap = 'the customer may take another server: rackctl reservation swap res_1 --reason "faulty"'

    async def lose_a_gpu() -> None:
        async with service.database.write() as session:
            server = (await session.exec(select(Server).where(Server.name == "r1-u01"))).one()
            server.state = State.LEASED
            session.add(
                Incident(
                    server_id=server.id,
                    kind=IncidentKind.HEALTH,
                    reason="GPU 3 is lost",
                    next_action=swap,
                )
            )

    service.background.run(lose_a_gpu())

    lines = {
        line.split()[0]: line for line in rackctl("server", "list", "--stuck").out.splitlines()
    }
    page = rackctl("server", "show", "r1-u01").out

    assert "GPU 3 is lost" in lines["r1-u01"]
    assert swap in lines["r1-u01"]
    assert "GPU 3 is lost" in page
