"""An operator's first page: what needs them, the capacity of each class, and all leases."""

import re
from datetime import timedelta

import pytest
from service_factories import PASSWORD

from provisioner.domain.access import Role
from provisioner.domain.lifecycle import State
from provisioner.service.views.home import capacity
from provisioner.store.tables import Incident


@pytest.fixture
async def home(browser, make):
    await make.account("Olga", Role.OPERATOR, password=PASSWORD)
    await browser.log_in("olga@example.com")

    async def text(path="/"):
        status, page = await browser.get(path)
        assert status == 200
        return page

    return text


async def test_what_needs_an_operator_is_there_with_why_and_what_to_do(home, make, clock):
    (server,) = await make.stock()
    assert "Nothing. All servers do what they should." in await home()
    server.state, server.reason = State.QUARANTINED, "a disk died"
    server.next_action = "replace the disk"
    await make.merge(server)
    row = Incident(server_id=server.id, kind="fault", reason="x", next_action="", opened_at=clock())
    await make.add(row)
    text = await home()
    assert "A disk died. <strong>Replace the disk.</strong>" in text
    assert f'href="/incidents?server=r1-u01#{row.id}"' in text
    assert 'href="/docs/runbook#fault"' in text
    row.acknowledged_at = clock()
    await make.merge(row)
    assert row.id not in await home()


async def test_each_server_counts_once_in_its_class(make, services, clock):
    ada, _ = await make.account("Ada")
    await make.stock()
    states = ("sanitising", "imaging", "leased", "quarantined", "maintenance", "retired")
    for number, state in enumerate(states, 2):
        server = await make.server(number, State(state))
        if state in ("imaging", "leased"):
            await make.lease(server, ada)
    async with services.database.read() as session:
        (found,) = await capacity(session)
    assert (found.of.free, found.leased, found.preparing) == (1, 2, 1)
    assert (found.out_of_service, found.total) == (2, 6)


async def test_all_leases_are_listed_with_their_customers_page_by_page(home, make, clock):
    (server,) = await make.stock()
    ada, _ = await make.account("Ada")
    bob, _ = await make.account("Bob")
    lease = await make.lease(server, ada, ready_at=clock())
    for number in range(2, 53):
        other = await make.server(number, address=f"10.77.1.{number}")
        await make.lease(other, bob, lasts=timedelta(hours=2 + number), ready_at=clock())
    text = await home()
    first = text.partition("<h2>Leases")[2]
    assert "<small>52</small>" in first
    assert len(re.findall(r"<td>(?:Ada|Bob)</td>", first)) == 50
    assert first.index("Ada") < first.index("Bob")
    assert f'href="/reservations/{lease.reservation_id}"' in first
    assert 'href="/servers/r1-u01"' in first
    assert len(re.findall(r"<td>Bob</td>", await home("/?page=2"))) == 2
    assert "Page 1 of 2" in await home("/?page=nonsense")


async def test_a_customer_sees_their_reservations_first_and_an_operator_has_them_too(
    browser, home, make
):
    assert "<h1>Reservations</h1>" in await home("/reservations")
    await make.account("Ada", password=PASSWORD)
    await browser.post("/", "/logout")
    await browser.log_in("ada@example.com")
    for path in ("/", "/reservations"):
        text = await home(path)
        assert "<h1>Reservations</h1>" in text
        assert "Capacity" not in text
