"""Incidents are acknowledged, assigned and noted: on the page and through the API."""

import re

import pytest
from service_factories import PASSWORD

from provisioner.domain.access import Role
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.runbooks import RUNBOOKS
from provisioner.store.tables import Incident


@pytest.fixture
async def olga(make):
    account, _ = await make.account("Olga", Role.OPERATOR, password=PASSWORD)
    return account


@pytest.fixture
async def open_ones(make, clock):
    """Two servers' incidents of two kinds."""
    first, second = await make.stock(2)
    rows = [
        _incident(first, "fault", "fan 3 is <dead>", clock),
        _incident(second, "fault", "a disk died", clock),
        _incident(second, "silent", "no report for an hour", clock),
    ]
    await make.add(*rows)
    return rows


def _incident(server, kind, reason, clock):
    return Incident(
        server_id=server.id, kind=kind, reason=reason, next_action="look", opened_at=clock()
    )


@pytest.fixture
async def browsing(browser, olga):
    await browser.log_in("olga@example.com")
    return browser


async def shown(operator, incident):
    items = (await (await operator.get("/v1/incidents")).json())["items"]
    return next(item for item in items if item["id"] == incident.id)


async def test_the_first_who_acknowledges_is_kept(operator, admin, open_ones, clock):
    path = f"/v1/incidents/{open_ones[0].id}/acknowledge"
    assert (await shown(operator, open_ones[0]))["acknowledged_at"] is None
    answer = await (await operator.post(path)).json()
    assert (answer["acknowledged_by"], answer["server"]) == ("operator", "r1-u01")
    clock.turn(hours=1)
    assert await (await admin.post(path)).json() == answer


async def test_an_assignment_goes_to_operators_only_and_can_be_taken_back(
    operator, customer, olga, open_ones
):
    path = f"/v1/incidents/{open_ones[0].id}/assign"
    answer = await operator.post(path, json={"account": "customer@example.com"})
    assert (answer.status, (await answer.json())["code"]) == (422, "not_an_operator")
    answer = await operator.post(path, json={"account": "nobody@example.com"})
    assert (answer.status, (await answer.json())["code"]) == (404, "unknown_account")
    assigned = await (await operator.post(path, json={"account": "olga@example.com"})).json()
    assert (assigned["assignee"], assigned["acknowledged_by"]) == ("Olga", "operator")
    free = await (await operator.post(path, json={"account": None})).json()
    assert (free["assignee"], free["acknowledged_by"]) == (None, "operator")


async def test_notes_stay_in_order_also_on_a_closed_incident(
    operator, make, open_ones, clock, services
):
    path = f"/v1/incidents/{open_ones[0].id}"
    assert (await operator.post(f"{path}/notes", json={"text": "a fan is ordered"})).status == 201
    open_ones[0].closed_at = clock()
    await make.merge(open_ones[0])
    await operator.post(f"{path}/notes", json={"text": "it was the cable"})
    notes = (await shown(operator, open_ones[0]))["notes"]
    assert [(n["author"], n["text"]) for n in notes] == [
        ("operator", "a fan is ordered"),
        ("operator", "it was the cable"),
    ]
    answer = await operator.post(f"{path}/notes", json={"text": "  "})
    assert (answer.status, (await answer.json())["code"]) == (422, "empty_note")
    for refused in ("acknowledge", "assign"):
        body = {"json": {"account": None}} if refused == "assign" else {}
        answer = await operator.post(f"{path}/{refused}", **body)
        assert (answer.status, (await answer.json())["code"]) == (409, "incident_closed")


async def test_the_api_finds_incidents_by_kind_server_and_owner(operator, olga, open_ones):
    async def found(query):
        items = (await (await operator.get(f"/v1/incidents?{query}")).json())["items"]
        return {item["id"] for item in items}

    first, second, third = (row.id for row in open_ones)
    await operator.post(f"/v1/incidents/{third}/assign", json={"account": olga.id})
    assert await found("kind=fault") == {first, second}
    assert await found("server=r1-u02") == {second, third}
    assert await found("acknowledged=false") == {first, second}
    assert await found(f"assignee={olga.id}") == {third}


async def test_a_customer_works_on_no_incident(customer, open_ones):
    path = f"/v1/incidents/{open_ones[0].id}"
    for work, body in (
        ("acknowledge", None),
        ("assign", {"account": None}),
        ("notes", {"text": "x"}),
    ):
        assert (await customer.post(f"{path}/{work}", json=body)).status == 403


async def test_on_the_page_one_acknowledges_assigns_and_notes(browsing, olga, open_ones):
    which = open_ones[0].id
    for work, fields in (
        ("acknowledge", ()),
        ("assign", (("account", olga.id),)),
        ("note", (("text", "a fan is <ordered>"),)),
    ):
        answer = await browsing.post(
            "/incidents?kind=fault", f"/incidents/{which}/{work}", ("kind", "fault"), *fields
        )
        assert answer.status == 303
        assert answer.headers["Location"] == f"/incidents?kind=fault&group=kind#{which}"
    _, text = await browsing.get("/incidents")
    assert "Olga works on it" in text
    assert "a fan is &lt;ordered&gt;" in text
    assert "Fan 3 is &lt;dead&gt;." in text


async def test_incidents_are_grouped_and_filtered_by_the_address(browsing, olga, open_ones):
    async def groups(query):
        return re.findall(r"<h2>(\S+) <small>(\d+)", (await browsing.get(f"/incidents?{query}"))[1])

    assert await groups("") == [("fault", "2"), ("silent", "1")]
    assert await groups("group=server") == [("r1-u01", "1"), ("r1-u02", "2")]
    assert await groups("kind=silent") == [("silent", "1")]
    assert await groups("server=r1-u01&group=server") == [("r1-u01", "1")]
    assert await groups("who=me") == []
    assert await groups("show=closed") == []
    assert await groups("show=all&kind=nonsense") == [("fault", "2"), ("silent", "1")]


@pytest.mark.parametrize("kind", IncidentKind)
async def test_every_kind_has_a_runbook_at_the_end_of_its_link(kind, browsing):
    book = RUNBOOKS[kind]
    assert book.means
    assert book.steps
    assert book.closes
    _, text = await browsing.get("/docs/runbook")
    assert f'id="{kind.value}"' in text


async def test_an_incident_links_its_runbook(browsing, operator, open_ones):
    assert (await shown(operator, open_ones[0]))["runbook"] == "/docs/runbook#fault"
    assert 'href="/docs/runbook#fault"' in (await browsing.get("/incidents"))[1]
