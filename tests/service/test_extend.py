"""Extending a reservation over the API and on its page."""

import re
from urllib.parse import urlencode

import pytest
from service_factories import PASSWORD
from sqlmodel import select

from provisioner.store.tables import AuditEvent, Reservation

HOUR_S = 3600


@pytest.fixture
async def lease(customer, make):
    """The customer's lease of two hours; the class has one server."""
    (server,) = await make.stock()
    me = await (await customer.get("/v1/me")).json()
    account = type("Who", (), {"id": me["id"]})
    return await make.lease(server, account)


async def extend(client, lease, body, **headers):
    path = f"/v1/reservations/{lease.reservation_id}/extend"
    answer = await client.post(path, json=body, headers=headers)
    return answer.status, await answer.json()


async def test_extending_by_and_until_moves_the_end(customer, lease, clock, services):
    status, first = await extend(customer, lease, {"by_s": HOUR_S})
    assert status == 200
    assert first["ends_at"] == first["lease"]["ends_at"] == "2026-01-05T15:00:00Z"
    status, second = await extend(customer, lease, {"until": "2026-01-05T18:00:00+01:00"})
    assert (status, second["ends_at"]) == (200, "2026-01-05T17:00:00Z")
    async with services.database.read() as session:
        found = await session.exec(
            select(AuditEvent).where(AuditEvent.action == "reservation.extend")
        )
        events = [event.detail for event in found]
    assert [event["to_end"][11:13] for event in events] == ["15", "17"]


async def test_the_same_idempotency_key_extends_once(customer, lease):
    key = {"Idempotency-Key": "once"}
    answers = [await extend(customer, lease, {"by_s": HOUR_S}, **key) for _ in range(2)]
    assert {answer["ends_at"] for _, answer in answers} == {"2026-01-05T15:00:00Z"}
    status, problem = await extend(customer, lease, {"by_s": 60}, **key)
    assert (status, problem["code"]) == (409, "idempotency_mismatch")


async def test_an_extension_at_the_end_is_refused_with_what_to_do(customer, lease, clock):
    clock.turn(hours=2)
    status, problem = await extend(customer, lease, {"by_s": HOUR_S})
    assert (status, problem["code"]) == (409, "reservation_over")
    assert problem["next_action"] == "make a new reservation"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"by_s": 1, "until": "2026-01-05T18:00:00Z"}, "invalid_request"),
        ({"until": "2026-01-05T18:00:00"}, "invalid_request"),
        ({"by_s": "60"}, "invalid_request"),
        ({"by_s": 0}, "bad_extension"),
        ({"by_s": -60}, "bad_extension"),
        ({"by_s": 10**18}, "bad_extension"),
        ({"by_s": -(10**18)}, "bad_extension"),
        ({"by_s": 366 * 86400}, "bad_extension"),
        ({"until": "2026-01-05T13:00:00Z"}, "bad_extension"),
        ({"until": "9999-12-31T23:59:59-14:00"}, "bad_extension"),
        ({"until": "0001-01-01T00:00:00+14:00"}, "bad_extension"),
    ],
)
async def test_a_wrong_extension_is_refused(customer, lease, body, code):
    status, problem = await extend(customer, lease, body)
    assert (status, problem["code"]) == (422, code)


async def test_anothers_reservation_is_unknown(as_role, customer, lease):
    eve = await as_role(name="Eve")
    status, problem = await extend(eve, lease, {"by_s": HOUR_S})
    assert (status, problem["code"]) == (404, "unknown_reservation")


async def test_the_page_extends_by_a_form(anybody, make, clock, services):
    (server,) = await make.stock()
    ada, _ = await make.account("Ada", password=PASSWORD)
    lease = await make.lease(server, ada)
    page = f"/reservations/{lease.reservation_id}"

    async def send(path, **fields):
        text = await (await anybody.get(path)).text()
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
        return await anybody.post(
            path,
            data=urlencode({**hidden, **fields}),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            allow_redirects=False,
        )

    await send("/login", email="ada@example.com", password=PASSWORD)
    assert f'href="{page}/extend"' in await (await anybody.get(page)).text()
    answer = await send(f"{page}/extend", amount="1.5", unit="hours")
    assert (answer.status, answer.headers["Location"]) == (303, page)
    async with services.database.read() as session:
        row = await session.get_one(Reservation, lease.reservation_id)
    assert (row.ends_at - row.starts_at).total_seconds() == 3.5 * HOUR_S

    answer = await send(f"{page}/extend", amount="much", unit="hours")
    assert answer.status == 422
    assert "Enter a number" in await answer.text()
    clock.turn(hours=4)
    answer = await send(f"{page}/extend", amount="1", unit="hours")
    assert answer.status == 422
    assert "is over" in await answer.text()
    assert "/extend" not in await (await anybody.get(page)).text()
