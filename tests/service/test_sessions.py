"""Sessions, passwords and disabled accounts: what has ended opens no door and keeps no stream."""

import re
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from form_browser import Browser
from service_factories import PASSWORD
from sqlmodel import select

from provisioner.accounts import passwords
from provisioner.domain.access import Role
from provisioner.service.app import make_app
from provisioner.store.tables import WebSession

ADA = "ada@example.com"
NEW = "correct horse battery staple"


@pytest.fixture
async def ada(browser, make):
    """A browser that is logged in."""
    await make.account("Ada", password=PASSWORD)
    assert (await browser.log_in(ADA)).status == 303
    return browser


def cookie_of(browser):
    (cookie,) = (c for c in browser.client.session.cookie_jar if c.key == "ironlease")
    return {"Cookie": f"{cookie.key}={cookie.value}"}


@asynccontextmanager
async def another(client):
    """Another client of the same server, which goes on when this one is closed."""
    new = TestClient(client.server)
    yield new
    await new.session.close()


async def is_in(browser, headers):
    """Whether a bare client with these headers is logged in."""
    async with another(browser.client) as thief:
        return (await thief.get("/keys", headers=headers, allow_redirects=False)).status == 200


async def test_a_copied_cookie_is_worthless_after_the_logout(ada):
    copied = cookie_of(ada)
    assert await is_in(ada, copied)
    assert (await ada.post("/", "/logout")).status == 303
    assert not await is_in(ada, copied)


async def test_logging_out_here_leaves_other_sessions_alone(ada):
    here = cookie_of(ada)
    async with another(ada.client) as client:
        elsewhere = Browser(client)
        await elsewhere.log_in(ADA)
        await ada.post("/", "/logout")
        assert (await elsewhere.get("/keys"))[0] == 200
    assert not await is_in(ada, here)


async def test_sessions_that_are_over_are_forgotten_at_the_next_login(ada, clock, services):
    clock.turn(hours=12)
    await ada.log_in(ADA)
    async with services.database.read() as session:
        assert len((await session.exec(select(WebSession))).all()) == 1


async def test_a_changed_password_ends_all_sessions_but_the_one_that_changed_it(ada):
    old = cookie_of(ada)
    answer = await ada.post("/account", "/account/password", ("current", PASSWORD), ("new", NEW))
    assert answer.status == 303, await answer.text()
    assert (await ada.get("/keys"))[0] == 200
    assert not await is_in(ada, old)
    assert (await ada.post("/", "/logout")).status == 303
    assert (await ada.log_in(ADA)).status == 401
    assert (await ada.log_in(ADA, NEW)).status == 303


@pytest.mark.parametrize(
    ("current", "new", "said"),
    [
        ("wrong", NEW, "This is not the current password."),
        ("", NEW, "This is not the current password."),
        (PASSWORD, "short", "A password has 12 to 256 characters."),
        (PASSWORD, "x" * 257, "A password has 12 to 256 characters."),
    ],
)
async def test_a_password_is_changed_by_who_knows_it(ada, current, new, said):
    answer = await ada.post("/account", "/account/password", ("current", current), ("new", new))
    assert answer.status == 422
    assert said in await answer.text()
    await ada.post("/", "/logout")
    assert (await ada.log_in(ADA)).status == 303


async def test_a_password_is_changed_over_the_api(anybody, ada, make, services):
    bob, token = await make.account("Bob", password=PASSWORD)
    headers = {"Authorization": f"Bearer {token}"}
    wrong = {"current": "wrong", "new": NEW}
    answer = await anybody.put("/v1/me/password", json=wrong, headers=headers)
    assert (answer.status, (await answer.json())["code"]) == (422, "wrong_password")
    right = {"current": PASSWORD, "new": NEW}
    assert (await anybody.put("/v1/me/password", json=right, headers=headers)).status == 204
    assert await passwords.matches((await make.get(bob)).password_hash, NEW)
    assert (await anybody.get("/v1/me", headers=headers)).status == 200, "tokens keep working"


async def test_an_account_without_a_password_gets_none_by_a_token(customer):
    answer = await customer.put("/v1/me/password", json={"current": "", "new": NEW})
    assert answer.status == 422


async def reset(admin, account):
    answer = await admin.post(f"/v1/accounts/{account.id}/password")
    assert answer.status == 200, await answer.text()
    return (await answer.json())["password"]


async def test_a_reset_password_serves_for_one_login_and_has_to_be_replaced(
    ada, admin, services, anybody
):
    from provisioner.accounts.accounts import find_account

    async with services.database.read() as session:
        account = await find_account(session, ADA)
    before = cookie_of(ada)
    once = await reset(admin, account)
    assert not await is_in(ada, before), "all sessions end"
    ada.client.session.cookie_jar.clear()
    assert (await ada.log_in(ADA)).status == 401, "the old password does not work"
    assert (await ada.log_in(ADA, once)).status == 303

    for page in ("/", "/keys", "/reserve"):
        answer = await ada.client.get(page, allow_redirects=False)
        assert answer.headers["Location"] == "/account"
    assert "one-time password" in (await ada.get("/account"))[1]
    async with another(anybody) as other:
        assert (await Browser(other).log_in(ADA, once)).status == 401, "it was spent"

    assert (await ada.post("/account", "/account/password", ("new", NEW))).status == 303
    assert (await ada.get("/keys"))[0] == 200
    await ada.post("/", "/logout")
    assert (await ada.log_in(ADA, NEW)).status == 303


async def test_operators_reset_customers_passwords_only(operator, make):
    boss, _ = await make.account("Boss", Role.ADMIN, password=PASSWORD)
    answer = await operator.post(f"/v1/accounts/{boss.id}/password")
    assert (await answer.json())["code"] == "admin_only"
    customer, _ = await make.account("Carl", password=PASSWORD)
    assert await reset(operator, customer)


async def test_a_disabled_account_is_enabled_again_without_its_old_tokens_and_sessions(
    ada, admin, anybody, services, make
):
    from provisioner.accounts.accounts import find_account

    async with services.database.read() as session:
        account = await find_account(session, ADA)
    issue = f"/v1/accounts/{account.id}/tokens"
    made = await (await admin.post(issue, json={"name": "x"})).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    cookie = cookie_of(ada)
    assert (await admin.post(f"/v1/accounts/{account.id}/disable")).status == 200
    assert (await ada.log_in(ADA)).status == 401
    enabled = await (await admin.post(f"/v1/accounts/{account.id}/enable")).json()
    assert enabled["disabled_at"] is None
    assert (await anybody.get("/v1/me", headers=headers)).status == 401
    assert not await is_in(ada, cookie)
    assert (await ada.log_in(ADA)).status == 303


async def test_tokens_are_listed_and_revoked_on_the_page(ada, admin, services):
    from provisioner.accounts.accounts import find_account

    async with services.database.read() as session:
        account = await find_account(session, ADA)
    _, text = await ada.get("/account")
    (revoke,) = re.findall(r'action="(/account/tokens/tok_\w+/revoke)"', text)
    assert (await ada.post("/account", revoke)).status == 303
    _, text = await ada.get("/account")
    assert "No tokens." in text
    answer = await admin.get("/v1/tokens", params={"account": account.id})
    assert (await answer.json())["items"] == []


@pytest.fixture
async def streaming(services, make):
    """A site that checks the credentials of its streams at every turn, and a customer's lease."""
    services = replace(services, credentials_poll_s=0.0)
    (server,) = await make.stock()
    ada, token = await make.account("Ada", password=PASSWORD)
    lease = await make.lease(server, ada)
    async with TestClient(TestServer(make_app(services))) as client:
        yield client, ada, token, lease.reservation_id


async def first_event(stream):
    while b"event: reservation" not in (line := await stream.content.readline()):
        assert line, "the stream ended before its first event"


@pytest.mark.parametrize("end", ["revoke", "disable"])
async def test_a_stream_ends_with_its_token(streaming, admin, end):
    client, ada, token, reservation_id = streaming
    headers = {"Authorization": f"Bearer {token}"}
    stream = await client.get(f"/v1/reservations/{reservation_id}/events", headers=headers)
    await first_event(stream)
    if end == "revoke":
        (own,) = (await (await client.get("/v1/tokens", headers=headers)).json())["items"]
        assert (await admin.delete(f"/v1/tokens/{own['id']}")).status == 204
    else:
        assert (await admin.post(f"/v1/accounts/{ada.id}/disable")).status == 200
    await stream.content.read()
    assert stream.content.at_eof()


@pytest.mark.parametrize("end", ["logout", "password", "disable"])
async def test_a_stream_ends_with_its_session(streaming, admin, end):
    client, ada, _, reservation_id = streaming
    browser = Browser(client)
    await browser.log_in(ADA)
    stream = await client.get(f"/reservations/{reservation_id}/events")
    await first_event(stream)
    if end == "logout":
        await browser.post("/", "/logout")
    elif end == "password":
        fields = (("current", PASSWORD), ("new", NEW))
        assert (await browser.post("/account", "/account/password", *fields)).status == 303
    else:
        await admin.post(f"/v1/accounts/{ada.id}/disable")
    await stream.content.read()
    assert stream.content.at_eof()
