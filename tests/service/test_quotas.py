"""One customer does not take the whole pool: quotas, also of bookings made at the same time."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from service_factories import public_key
from sqlmodel import select

from provisioner.domain.access import Actor, Role
from provisioner.domain.quotas import Quota
from provisioner.domain.refusals import Refusal
from provisioner.rental import booking
from provisioner.store.tables import Reservation

BOTH = pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"])
QUOTA = Quota(servers=3, duration=timedelta(days=2))
DAY_S = 86400


@pytest.fixture
async def services(services):
    return replace(services, quota=QUOTA)


@pytest.fixture
def book(make):
    """Books for an account, as itself unless told otherwise."""
    services = make.services

    async def book(account, role=Role.CUSTOMER, class_name="lab-2nvme", hours=1.0, key=None):
        request = booking.Request(
            class_name=class_name,
            image="debian-12",
            duration=timedelta(hours=hours),
            ssh_keys=["laptop"],
            account=account.id,
            idempotency_key=key,
        )
        async with services.database.write() as session:
            return await booking.reserve(
                session,
                request,
                actor=Actor.account(account.id, role),
                now=services.clock(),
                quota=services.quota,
            )

    return book


@pytest.fixture
async def ada(make, customer):
    """A customer with an SSH key, at a site with more servers than her quota."""
    await make.stock(8)
    await customer.post("/v1/ssh-keys", json={"name": "laptop", "public_key": public_key()})
    return customer


def order(**changes):
    base = {"class": "lab-2nvme", "image": "debian-12", "duration_s": 3600, "ssh_keys": ["laptop"]}
    return {**base, **changes}


async def outcome(answer):
    body = await answer.json()
    return answer.status if answer.status < 400 else (answer.status, body["code"])


async def test_a_customer_reserves_as_many_servers_as_the_quota_says(ada, make):
    made = [await ada.post("/v1/reservations", json=order()) for _ in range(3)]
    assert [await outcome(answer) for answer in made] == [201] * 3
    refused = await ada.post("/v1/reservations", json=order())
    problem = await refused.json()
    assert (refused.status, problem["code"]) == (409, "over_quota")
    assert "3 servers" in problem["detail"]
    assert "operator" in problem["next_action"]
    await ada.post(f"/v1/reservations/{(await made[0].json())['id']}/release")
    assert await outcome(await ada.post("/v1/reservations", json=order())) == 201


@BOTH
async def test_bookings_at_the_same_time_keep_the_quota(ada, make, book):
    """Over classes too: each class has a lock of its own."""
    await make.server_class("other")
    for number in range(20, 26):
        await make.server(number, class_name="other")
    me = await (await ada.get("/v1/me")).json()
    account = await account_of(make, me["id"])
    wanted = [book(account, class_name=("lab-2nvme", "other")[n % 2]) for n in range(64)]
    answers = await asyncio.gather(*wanted, return_exceptions=True)
    failed = Counter(a.code for a in answers if isinstance(a, Refusal))
    assert failed == {"over_quota": 61}
    async with make.services.database.read() as session:
        rows = (await session.exec(select(Reservation))).all()
    assert len(rows) == 3


async def account_of(make, account_id):
    from provisioner.store.tables import Account

    async with make.services.database.read() as session:
        return await session.get_one(Account, account_id)


async def test_the_same_request_again_is_answered_at_the_limit(ada):
    keyed = {"Idempotency-Key": "k1"}
    first = await (await ada.post("/v1/reservations", json=order(), headers=keyed)).json()
    for _ in range(2):
        await ada.post("/v1/reservations", json=order())
    again = await ada.post("/v1/reservations", json=order(), headers=keyed)
    assert (await again.json())["id"] == first["id"]


async def test_a_reservation_is_no_longer_than_the_quota_with_its_extensions(ada):
    too_long = await ada.post("/v1/reservations", json=order(duration_s=2 * DAY_S + 1))
    problem = await too_long.json()
    assert (too_long.status, problem["code"]) == (409, "over_quota")
    assert "2 days" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/duration_s"
    made = await (await ada.post("/v1/reservations", json=order(duration_s=DAY_S))).json()
    where = f"/v1/reservations/{made['id']}/extend"
    assert await outcome(await ada.post(where, json={"by_s": DAY_S + 1})) == (409, "over_quota")
    assert await outcome(await ada.post(where, json={"by_s": DAY_S})) == 200
    assert await outcome(await ada.post(where, json={"by_s": 60})) == (409, "over_quota")


async def test_an_operator_sets_an_accounts_own_quota(ada, operator):
    me = await (await ada.get("/v1/me")).json()
    assert me["quota"] == {"servers": 3, "duration_s": 2 * DAY_S, "own": False}
    where = f"/v1/accounts/{me['id']}/quota"
    assert (await ada.patch(where, json={"servers": 100})).status == 403
    changed = await (await operator.patch(where, json={"servers": 4})).json()
    assert changed["quota"] == {"servers": 4, "duration_s": 2 * DAY_S, "own": True}
    made = [await outcome(await ada.post("/v1/reservations", json=order())) for _ in range(5)]
    assert made == [201] * 4 + [(409, "over_quota")]
    for wrong in ({"servers": -1}, {"servers": "٤"}, {"duration_s": 1}, {"more": 1}):
        assert (await operator.patch(where, json=wrong)).status == 422
    await operator.patch(where, json={"servers": 0, "duration_s": 3600})
    back = await (await operator.patch(where, json={"servers": None})).json()
    assert back["quota"] == {"servers": 3, "duration_s": 3600, "own": True}
    listed = (await (await operator.get("/v1/accounts")).json())["items"]
    assert back in listed


async def test_an_operator_may_book_beyond_a_customers_quota(ada, operator):
    me = await (await ada.get("/v1/me")).json()
    key = public_key()
    for _ in range(4):
        body = order(account=me["id"], ssh_keys=[key], duration_s=3 * DAY_S)
        assert await outcome(await operator.post("/v1/reservations", json=body)) == 201


async def test_the_page_says_what_the_limit_is(ada, make, browser):
    from service_factories import PASSWORD

    from provisioner.accounts.passwords import hash_password

    me = await (await ada.get("/v1/me")).json()
    account = await account_of(make, me["id"])
    await make.set(account, password_hash=await hash_password(PASSWORD), max_servers=0)
    await browser.log_in(account.email)
    keys = await (await ada.get("/v1/ssh-keys")).json()
    answer = await browser.post(
        "/reserve",
        "/reserve",
        ("class", "lab-2nvme"),
        ("image", "debian-12"),
        ("amount", "2"),
        ("unit", "hours"),
        ("ssh_keys", keys["items"][0]["id"]),
    )
    text = await answer.text()
    assert answer.status == 422
    assert "0 servers" in text
    assert "operator" in text
