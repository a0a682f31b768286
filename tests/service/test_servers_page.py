"""The page of a fleet of hundreds: what needs a person first, filters, and bulk actions."""

import re
from urllib.parse import urlencode

import pytest
from health_rows import LOST, incident, judged, lost
from playwright.async_api import expect
from service_factories import PASSWORD
from sqlmodel import select

from provisioner.domain.access import Role
from provisioner.domain.lifecycle import OperationState, RequestVerb, State
from provisioner.store.tables import ServerRequest


@pytest.fixture
async def operators(browser, make):
    """A browser in which an operator is logged in."""
    await make.account("Op", Role.OPERATOR, password=PASSWORD)
    await browser.log_in("op@example.com")
    return browser


@pytest.fixture
def names(operators):
    """The servers on a page, in its order."""

    async def shown(path="/servers"):
        status, text = await operators.get(path)
        assert status == 200
        return re.findall(r'name="server" value="([^"]*)"', text)

    return shown


@pytest.fixture
async def fleet(make):
    """Three servers: one free, one in quarantine, one leased with a lost GPU."""
    free, bad, leased = await make.stock(3)
    bad.state, bad.rack = State.QUARANTINED, "r2"
    bad.reason, bad.next_action = "a disk died", "replace the disk"
    await make.merge(bad)
    account, _ = await make.account("Ada")
    leased.state = State.LEASED
    await make.merge(leased)
    lease = await make.lease(leased, account, ready_at=make.services.clock())
    await judged(make, leased, lost(make.services.clock()))
    await incident(make, leased, lease)
    return free, bad, leased


async def test_what_needs_a_person_comes_first_with_why_and_what_to_do(names, operators, fleet):
    assert await names() == ["r1-u02", "r1-u03", "r1-u01"]
    _, text = await operators.get("/servers")
    for said in ("A disk died.", "Replace the disk.", LOST, "Swap the server."):
        assert said in text
    assert await names("/servers?needs=true") == ["r1-u02", "r1-u03"]


async def test_a_parked_operation_needs_a_person(names, make, fleet):
    await make.operation(fleet[0], state=OperationState.PARKED)
    assert "r1-u01" in await names("/servers?needs=true")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"state": "leased"}, ["r1-u03"]),
        ({"rack": "r2"}, ["r1-u02"]),
        ({"rack": "r2", "state": "leased"}, []),
        ({"site": "lab", "class": "lab-2nvme"}, ["r1-u02", "r1-u03", "r1-u01"]),
        ({"site": "elsewhere"}, []),
        ({"health": "faulty"}, ["r1-u03"]),
        ({"health": "unknown"}, ["r1-u02", "r1-u01"]),
        ({"q": "U01"}, ["r1-u01"]),
        ({"q": "10.77.0.12"}, ["r1-u02"]),
        ({"q": "ilsrv03"}, ["r1-u03"]),
        ({"q": "%"}, []),
        ({"q": "_"}, []),
        ({"state": "nonsense", "page": "x"}, ["r1-u02", "r1-u03", "r1-u01"]),
    ],
)
async def test_filters_are_in_the_address(names, fleet, query, found):
    assert await names(f"/servers?{urlencode(query)}") == found


async def test_links_keep_the_other_filters(operators, fleet):
    _, text = await operators.get("/servers?rack=r2&q=u0")
    assert 'href="/servers?q=u0&amp;rack=r2&amp;state=leased"' in text
    assert re.search(r"<option selected>r2</option>", text)
    assert "1 server," in text


async def test_hundreds_are_shown_page_by_page(names, operators, make):
    await make.server_class()
    for number in range(1, 121):
        await make.server(number, name=f"n{number:03}")
    first, last = await names(), await names("/servers?page=3")
    assert (len(first), first[0], first[-1]) == (50, "n001", "n050")
    assert (len(last), last[0], last[-1]) == (20, "n101", "n120")
    _, text = await operators.get("/servers?page=2&rack=r1")
    assert "Page 2 of 3" in text
    assert 'rel="next" href="/servers?rack=r1&amp;page=3"' in text
    assert 'rel="prev" href="/servers?rack=r1&amp;page=1"' in text
    assert await names("/servers?page=9") == []


async def test_a_bulk_action_names_its_servers_and_asks_for_a_reason(operators, fleet):
    path = "/servers/act?action=quarantine&server=r1-u01&server=r1-u03&server=nothing"
    _, text = await operators.get(path)
    assert "Quarantine 2 servers?" in text
    assert text.count("Refused in this state.") == 1
    assert "There is no server nothing." in text
    answer = await operators.post(path, "/servers/act", ("server", "r1-u01"), ("reason", " "))
    assert answer.status == 422
    assert "Say why." in await answer.text()


async def test_one_refusal_stops_no_other_and_each_result_is_shown(operators, fleet, services):
    chosen = [("server", name) for name in ("r1-u01", "r1-u02", "r1-u03", "nothing")]
    answer = await operators.post(
        "/servers/act?action=maintain&server=r1-u01",
        "/servers/act",
        *chosen,
        ("reason", "new power supply"),
    )
    text = await answer.text()
    assert answer.status == 200
    assert "Maintain: 1 of 4 accepted" in text
    assert re.findall(r"badge (accepted|refused)", text) == [
        "refused",
        "accepted",
        "refused",
        "refused",
    ]
    assert "R1-u03 is leased" not in text
    assert "r1-u03 is leased: file the request on its reservation" in text
    async with services.database.read() as session:
        (request,) = (await session.exec(select(ServerRequest))).all()
    assert (request.verb, request.arguments) == (
        RequestVerb.MAINTAIN,
        {"reason": "new power supply"},
    )


@pytest.mark.parametrize("query", ["action=maintain", "action=nonsense&server=r1-u01", ""])
async def test_without_servers_or_an_action_nothing_is_done(operators, fleet, query):
    status, text = await operators.get(f"/servers/act?{query}")
    assert status == 422
    assert "go back" in text.lower()


async def test_a_customer_acts_on_no_server(browser, make, fleet):
    await make.account("Cus", password=PASSWORD)
    await browser.log_in("cus@example.com")
    for path in ("/servers", "/servers/act?action=retire&server=r1-u01"):
        assert (await browser.get(path))[0] == 403
    answer = await browser.post("/keys", "/servers/act", ("action", "retire"), ("server", "r1-u01"))
    assert answer.status == 403


async def test_a_server_s_own_page_offers_what_its_state_allows(operators, fleet):
    _, text = await operators.get("/servers/r1-u02")
    assert re.findall(r'name="action" value="(\w+)"', text) == ["repaired", "power_cycle", "retire"]
    _, text = await operators.get("/servers/r1-u03")
    assert 'name="action"' not in text


async def test_ticks_outlive_the_renewal_of_the_list(page, make, fleet):
    await make.account("Olga", Role.OPERATOR, password=PASSWORD)
    await page.goto("/servers")
    await page.get_by_label("E-mail").fill("olga@example.com")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_label("Choose r1-u01").check()
    fleet[1].reason = "two disks died"
    await make.merge(fleet[1])
    await expect(page.get_by_text("Two disks died.")).to_be_visible()
    await expect(page.get_by_label("Choose r1-u01")).to_be_checked()
    await page.get_by_label("Choose all servers on this page").check()
    await page.get_by_label("With the chosen servers").select_option("retire")
    await page.get_by_role("button", name="Continue…").click()
    await expect(page.get_by_role("heading", name="Retire 3 servers?")).to_be_visible()
    assert page.errors == []
