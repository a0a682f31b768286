"""The webhook by API and page: set, shown without its secret, tested against a real receiver."""

import re
from dataclasses import replace
from ipaddress import ip_network
from urllib.parse import urlencode

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from service_factories import PASSWORD, Factory
from sqlmodel import select

from provisioner.domain.webhook_addresses import AddressRules
from provisioner.notifications.sender import WebhookSender
from provisioner.service.app import make_app
from provisioner.store.tables import AuditEvent, Webhook


@pytest.fixture
def services(services):
    """Those of a lab, where receivers are on loopback."""
    rules = AddressRules(
        allow_http=True,
        allowed=(ip_network("127.0.0.0/8"),),
        refused=(ip_network("127.0.0.77/32"),),
    )
    return replace(services, webhook_rules=rules)


@pytest.fixture
def sender(services):
    return WebhookSender(
        services.database,
        services.secret_box,
        post=services.webhook_post,
        rules=services.webhook_rules,
        clock=services.clock,
    )


@pytest.fixture
async def receiver():
    """A server that keeps what it is sent."""
    app = web.Application()
    got = []

    async def hook(request):
        got.append((request.headers, await request.read()))
        return web.Response(status=204)

    app.router.add_post("/hook", hook)
    async with TestServer(app) as server:
        server.got = got
        yield server


async def put(client, url):
    answer = await client.put("/v1/webhook", json={"url": str(url)})
    return answer.status, await answer.json()


async def test_a_webhook_is_set_tested_shown_and_removed(
    customer, receiver, sender, services, clock
):
    status, made = await put(customer, receiver.make_url("/hook"))
    assert status == 200
    assert made["secret"].startswith("whsec_")

    answer = await customer.post("/v1/webhook/test")
    assert answer.status == 202
    message = await answer.json()
    assert (message["type"], message["attempts"]) == ("webhook.test", 0)
    await sender.settle()
    ((headers, body),) = receiver.got
    assert headers["webhook-id"] == message["id"]
    assert b"webhook.test" in body

    shown = await (await customer.get("/v1/webhook")).json()
    assert shown["url"] == made["url"]
    assert "secret" not in shown
    (message,) = shown["messages"]
    assert message["delivered_at"] == "2026-01-05T12:00:00Z"
    assert (message["next_try_at"], message["error"]) == (None, "")

    assert (await customer.delete("/v1/webhook")).status == 204
    assert (await customer.get("/v1/webhook")).status == 404
    async with services.database.read() as session:
        actions = (await session.exec(select(AuditEvent.action))).all()
    assert {"webhook.set", "webhook.remove"} <= set(actions)


async def test_each_setting_makes_a_new_secret_that_is_kept_sealed(customer, receiver, services):
    secrets = {(await put(customer, receiver.make_url(f"/{n}")))[1]["secret"] for n in range(2)}
    assert len(secrets) == 2
    async with services.database.read() as session:
        row = (await session.exec(select(Webhook))).one()
    assert row.secret_sealed not in secrets
    assert services.secret_box.open(row.secret_sealed) in secrets


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "http://user:word@127.0.0.1/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.77/",
        "http://[::1]/",
        "http://2852039166/",
        "http://no-such-name.invalid/",
        "http://127.0.0.1:99999/",
        "nonsense",
    ],
)
async def test_an_address_that_messages_must_not_go_to_is_refused(customer, url):
    status, problem = await put(customer, url)
    assert (status, problem["code"]) == (422, "bad_webhook")
    assert problem["errors"][0]["pointer"] == "/url"
    assert (await customer.get("/v1/webhook")).status == 404


async def test_by_default_only_https_to_the_internet_is_taken(services, receiver):
    plain = replace(services, webhook_rules=AddressRules())
    _, token = await Factory(plain).account("Ada")
    async with TestClient(
        TestServer(make_app(plain)), headers={"Authorization": f"Bearer {token}"}
    ) as client:
        for url in (receiver.make_url("/hook"), receiver.make_url("/hook").with_scheme("https")):
            status, problem = await put(client, url)
            assert (status, problem["code"]) == (422, "bad_webhook")
    assert receiver.got == []


async def test_tests_are_limited(customer, receiver, clock):
    assert (await customer.post("/v1/webhook/test")).status == 404
    await put(customer, receiver.make_url("/hook"))
    statuses = [(await customer.post("/v1/webhook/test")).status for _ in range(2)]
    clock.turn(seconds=11)
    statuses.append((await customer.post("/v1/webhook/test")).status)
    assert statuses == [202, 409, 202]


async def test_webhooks_are_of_one_account(as_role, customer, receiver):
    await put(customer, receiver.make_url("/hook"))
    eve = await as_role(name="Eve")
    assert (await eve.get("/v1/webhook")).status == 404
    assert (await eve.delete("/v1/webhook")).status == 404
    assert (await customer.get("/v1/webhook")).status == 200


async def test_the_page_sets_tests_and_removes_it(anybody, make, receiver, sender):
    await make.account("Ada", password=PASSWORD)

    async def send(page, path, **fields):
        text = await (await anybody.get(page)).text()
        csrf = re.search(r'name="csrf" value="([^"]*)"', text)[1]
        return await anybody.post(
            path,
            data=urlencode({"csrf": csrf, **fields}),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            allow_redirects=False,
        )

    await send("/login", "/login", email="ada@example.com", password=PASSWORD)
    answer = await send("/webhook", "/webhook", url="http://10.0.0.1/")
    assert answer.status == 422
    assert "not on the public Internet" in await answer.text()
    answer = await send("/webhook", "/webhook", url=str(receiver.make_url("/hook")))
    assert "whsec_" in await answer.text()
    assert "whsec_" not in await (await anybody.get("/webhook")).text()
    assert (await send("/webhook", "/webhook/test")).status == 303
    await sender.settle()
    assert len(receiver.got) == 1
    assert "delivered" in await (await anybody.get("/webhook")).text()
    assert (await send("/webhook", "/webhook/remove")).status == 303
    assert "Send a test" not in await (await anybody.get("/webhook")).text()
