"""Tables fit the terminal, identifiers are short, and names and first characters are enough."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rackctl_fleet import CLASS, CUSTOMER, WHY
from rackctl_service import Rackctl, Service
from rich.console import Console
from sqlmodel import select

from provisioner.domain.incidents import IncidentKind
from provisioner.rackctl import output
from provisioner.rackctl.formats import local_time, short_time
from provisioner.rackctl.tables import Ids, TableConsole, extra, moment, prose, rows
from provisioner.store.columns import new_id
from provisioner.store.tables import Incident, Reservation, Server

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAxEo8l0nZ8bVrXdKPYuXb7T3cJ0bU1uHq5bQbI3sD5s ada"
LONG = "a-host-name-as-long-as-one-may-be." + "x" * 40


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setattr(output, "terminal_columns", lambda **_: 80)


@pytest.fixture
def reserved(rackctl: Rackctl) -> str:
    ran = rackctl(
        *("reserve", "--class", CLASS, "--image", "debian-12", "--for", "2h", "--key", KEY),
        *("--account", CUSTOMER, "--hostname", LONG, "-o", "json"),
    )
    assert ran.code == 0, ran.err
    return str(json.loads(ran.out)["id"])


LISTS = [
    ("server", "list"),
    ("server", "show", "r1-u03"),
    ("server", "requests", "r1-u03"),
    ("server", "certificates", "r1-u03"),
    ("server", "sensors", "r1-u01"),
    ("server", "event-log", "r1-u01"),
    ("server", "health", "r1-u01"),
    ("server", "power", "r1-u01", "r1-u02"),
    ("server", "maintain", "r1-u01", "r1-u02", "--reason", "x", "--dry-run"),
    ("gpu", "list"),
    ("operation", "list"),
    ("operation", "show", "r1-u03"),
    ("incident", "list"),
    ("audit",),
    ("status",),
    ("class", "list"),
    ("image", "list"),
    ("key", "list"),
    ("reservation", "list"),
    ("reservation", "show", LONG),
    ("reservation", "requests", LONG),
    ("account", "list"),
    ("watch", "--rounds", "1"),
]


@pytest.mark.usefixtures("narrow", "reserved")
@pytest.mark.parametrize("command", LISTS, ids=lambda command: " ".join(command)[:30])
def test_every_table_fits_a_terminal_of_80_columns(
    rackctl: Rackctl, command: tuple[str, ...]
) -> None:
    ran = rackctl(*command)

    assert ran.code == 0, ran.err
    assert max(map(len, ran.out.splitlines())) <= 80, ran.out


@pytest.mark.usefixtures("narrow")
def test_on_a_narrow_terminal_the_reason_is_below_the_server_and_the_command_in_one_piece(
    rackctl: Rackctl,
) -> None:
    lines = rackctl("server", "list").out.splitlines()

    place = next(n for n, line in enumerate(lines) if line.startswith("r1-u03"))
    assert "quarantined" in lines[place]
    below = [line.strip() for line in lines[place + 1 : place + 4]]
    assert below[0] == f"reason: {WHY}"
    assert any("rackctl server repaired r1-u03" in line for line in below)


@pytest.mark.usefixtures("narrow")
def test_wide_shows_every_column_and_whole_identifiers(rackctl: Rackctl, reserved: str) -> None:
    ran = rackctl("reservation", "list", "--wide")

    [head, line] = ran.out.splitlines()
    assert {"CLASS", "IMAGE", "HOSTNAME", "CUSTOMER"} <= set(head.split())
    assert reserved in line
    assert LONG in line


@pytest.mark.usefixtures("narrow", "reserved")
def test_the_audit_trail_tells_who_did_what_to_what_by_name(rackctl: Rackctl) -> None:
    rackctl("server", "maintain", "r1-u02", "--reason", "fan is loud", "--no-wait")
    rackctl("server", "maintain", "r1-u01", "--reason", "fan is loud", "--no-wait")

    lines = rackctl("audit").out.splitlines()

    place = next(n for n, line in enumerate(lines) if "server.request" in line)
    assert "admin@localhost" in lines[place]
    assert "r1-u01" in lines[place]
    detail = " ".join(line.strip() for line in lines[place + 1 : place + 4])
    assert "reason: fan is loud" in detail


@pytest.mark.parametrize("subject", ["r1-u01", LONG, "admin@localhost"])
@pytest.mark.usefixtures("reserved")
def test_the_audit_trail_of_a_thing_is_found_by_its_name(rackctl: Rackctl, subject: str) -> None:
    rackctl("server", "maintain", "r1-u01", "--reason", "x", "--no-wait")

    events = json.loads(rackctl("audit", "--subject", subject, "-o", "json").out)["items"]

    assert {event["subject_name"] for event in events} == {subject}


def test_an_operators_list_of_reservations_names_the_customers(
    rackctl: Rackctl, reserved: str
) -> None:
    assert "Ada" in rackctl("reservation", "list").out


def test_a_reservation_is_found_by_host_name_and_first_characters(
    rackctl: Rackctl, reserved: str
) -> None:
    short = rackctl("reservation", "list").out.splitlines()[1].split()[0]

    assert len(short) < len(reserved)
    for which in (LONG, short, short.lower(), reserved):
        found = json.loads(rackctl("reservation", "show", which, "-o", "json").out)
        assert found["id"] == reserved


async def again(service: Service, *, ended: bool) -> list[str]:
    """Make another reservation of the same host name."""
    async with service.database.write() as session:
        old = (await session.exec(select(Reservation))).one()
        values = old.model_dump(exclude={"id", "idempotency_key"})
        new = Reservation(**{**values, "state": "ended" if ended else "waiting"})
        session.add(new)
        return sorted([old.id, new.id])


def test_a_host_name_of_several_lists_the_candidates(
    rackctl: Rackctl, service: Service, reserved: str
) -> None:
    ids = service.background.run(again(service, ended=False))

    ran = rackctl("reservation", "show", LONG)

    assert ran.code == 1
    assert "means several" in ran.err
    assert all(each in ran.err for each in ids)


def test_of_several_the_one_that_is_not_over_is_meant(
    rackctl: Rackctl, service: Service, reserved: str
) -> None:
    service.background.run(again(service, ended=True))

    found = json.loads(rackctl("reservation", "show", LONG, "-o", "json").out)

    assert found["id"] == reserved


@pytest.mark.parametrize("which", ["nothing", "res_", "%", "_", "../me", "'"])
def test_what_is_not_there_is_said(rackctl: Rackctl, which: str) -> None:
    ran = rackctl("reservation", "show", which)

    assert ran.code == 1
    assert "there is no reservation" in ran.err


def test_operations_and_incidents_are_found_by_their_first_characters(
    rackctl: Rackctl, service: Service
) -> None:
    operations = json.loads(rackctl("operation", "list", "-o", "json").out)["items"]
    one = next(each for each in operations if each["server"] == "r1-u03")
    shown = json.loads(rackctl("operation", "show", one["id"][:-1], "-o", "json").out)
    breaker = service.background.run(open_breaker(service))

    closed = json.loads(rackctl("incident", "close", breaker[:-1], "-o", "json").out)

    assert shown["id"] == one["id"]
    assert closed["id"] == breaker
    assert closed["closed_at"]


async def open_breaker(service: Service) -> str:
    async with service.database.write() as session:
        incident = Incident(kind=IncidentKind.BREAKER, reason="many at once", next_action="look")
        session.add(incident)
        return incident.id


@pytest.mark.usefixtures("narrow")
def test_hostile_names_control_no_terminal(rackctl: Rackctl, service: Service) -> None:
    async def rename() -> None:
        async with service.database.write() as session:
            server = (await session.exec(select(Server).where(Server.name == "r1-u03"))).one()
            server.reason = "\x1b[2Jgone\r" + "wide 漢字 " * 30

    service.background.run(rename())

    out = rackctl("server", "list").out

    assert "\x1b[2J" not in out
    assert "\r" not in out


@given(st.lists(st.builds(lambda: new_id("res")), max_size=30))
def test_short_identifiers_tell_those_of_a_list_apart(ids: list[str]) -> None:
    short = Ids(ids)

    shown = [short(each).line for each in ids]

    assert len(set(shown)) == len(set(ids))
    assert all(each.startswith(written) for each, written in zip(ids, shown, strict=True))


@given(
    st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60), st.text(max_size=200))),
    st.integers(min_value=40, max_value=200),
)
def test_any_table_fits_any_terminal(lines: list[tuple[str, ...]], width: int) -> None:
    console = TableConsole(width=width, record=True, file=io.StringIO())

    console.print(rows(["NAME", extra("MORE"), prose("WHY")], lines))

    text = console.export_text(clear=True)
    assert all(_cells(line) <= width for line in text.split("\n"))


def _cells(line: str) -> int:
    return Console().measure(line).maximum if line else 0


def test_times_are_as_short_as_they_are_clear() -> None:
    now = datetime.now(UTC)
    long_ago = (now - timedelta(days=800)).isoformat()

    assert short_time(now.isoformat()) in local_time(now.isoformat())
    assert len(short_time(long_ago)) == len("2024-01-31")
    assert short_time(None) == moment(None).whole == ""
