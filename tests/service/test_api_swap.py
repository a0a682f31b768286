"""Another server for one that is faulty, over the API and the lease's page."""

import pytest
from service_factories import PASSWORD
from sqlmodel import select

from provisioner.store.tables import Account, AuditEvent, Incident


@pytest.fixture
async def leased(make, clock, services, customer):
    """The customer's lease on the first of two servers."""
    first, _ = await make.stock(2)
    async with services.database.read() as session:
        account = (await session.exec(select(Account).where(Account.name == "customer"))).one()
    return first, await make.lease(first, account, ready_at=clock())


async def _faulty(make, server, lease):
    await make.add(
        Incident(
            server_id=server.id,
            lease_id=lease.id,
            kind="health",
            reason="GPU 3: fell off the bus",
            next_action="look",
        )
    )


async def test_a_customer_swaps_a_faulty_server(customer, make, leased, services):
    server, lease = leased
    await _faulty(make, server, lease)
    answer = await customer.post(f"/v1/reservations/{lease.reservation_id}/swap")
    shown = await answer.json()
    assert answer.status == 200, shown
    assert shown["state"] == "bound"
    assert shown["lease"]["server"] != server.name
    assert shown["lease"]["state"] == "preparing"
    old = await make.get(lease)
    assert old.end_reason == "moved"
    assert old.ends_at == services.clock()
    async with services.database.read() as session:
        events = (await session.exec(select(AuditEvent))).all()
    assert "reservation.swap" in [event.action for event in events]


async def test_the_lease_page_offers_a_swap_while_something_is_wrong(
    browser, make, clock, services
):
    server, _ = await make.stock(2)
    ada, _ = await make.account("Ada", password=PASSWORD)
    lease = await make.lease(server, ada, ready_at=clock())
    await browser.log_in("ada@example.com")
    page = f"/reservations/{lease.reservation_id}"
    assert "another server" not in (await browser.get(page))[1]
    await _faulty(make, server, lease)
    assert "Get another server" in (await browser.get(page))[1]
    answer = await browser.post(page, f"{page}/swap")
    assert (answer.status, answer.headers["Location"]) == (303, page)
    assert (await make.get(lease)).end_reason == "moved"


async def test_a_customer_swaps_no_server_that_is_well(customer, leased):
    _, lease = leased
    answer = await customer.post(f"/v1/reservations/{lease.reservation_id}/swap")
    assert answer.status == 409
    assert (await answer.json())["code"] == "not_faulty"


async def test_an_operator_swaps_any_server(operator, make, leased):
    _, lease = leased
    answer = await operator.post(f"/v1/reservations/{lease.reservation_id}/swap")
    assert answer.status == 200
    again = await operator.post(f"/v1/reservations/{lease.reservation_id}/swap")
    assert (await again.json())["code"] == "no_capacity"


async def test_nothing_is_swapped_of_a_reservation_that_is_over(operator, leased, clock):
    _, lease = leased
    clock.turn(hours=3)
    answer = await operator.post(f"/v1/reservations/{lease.reservation_id}/swap")
    assert (await answer.json())["code"] == "nothing_to_swap"


async def test_anothers_reservation_is_unknown(as_role, leased):
    _, lease = leased
    other = await as_role(name="Eve")
    answer = await other.post(f"/v1/reservations/{lease.reservation_id}/swap")
    assert answer.status == 404


async def test_the_breakers_incident_is_listed_without_a_server_and_closed(operator, make, clock):
    row = Incident(kind="breaker", reason="4 of 5 servers turned faulty", next_action="look")
    await make.add(row)
    (shown,) = (await (await operator.get("/v1/incidents?open=true")).json())["items"]
    assert shown["server"] is None
    clock.turn(minutes=1)
    answer = await operator.post(f"/v1/incidents/{row.id}/close")
    assert (await answer.json())["closed_at"] is not None
    assert (await (await operator.get("/v1/incidents?open=true")).json())["items"] == []


async def test_a_servers_incident_is_not_closed_by_hand(operator, customer, make):
    (server,) = await make.stock()
    row = Incident(server_id=server.id, kind="fault", reason="broken", next_action="mend it")
    await make.add(row)
    answer = await operator.post(f"/v1/incidents/{row.id}/close")
    assert answer.status == 409
    assert (await answer.json())["next_action"] == "mend it"
    assert (await customer.post(f"/v1/incidents/{row.id}/close")).status == 403
