"""The pages as a browser without JavaScript uses them: login, forms, what they refuse."""

import re
from urllib.parse import urlencode

import pytest
from aiohttp.test_utils import TestClient, TestServer
from service_factories import PASSWORD, public_key
from sqlmodel import func, select
from yarl import URL

from provisioner.domain.access import Role
from provisioner.domain.lifecycle import State
from provisioner.service.app import make_app
from provisioner.store.tables import Incident, Reservation, SshKey


@pytest.fixture
async def ada(browser, make):
    """A browser in which Ada, a customer, is logged in."""
    await make.account("Ada", password=PASSWORD)
    assert (await browser.log_in("ada@example.com")).status == 303
    return browser


def reservation_fields(**changes):
    fields = {"class": "lab-2nvme", "image": "debian-12", "amount": "2", "unit": "hours"}
    return list({**fields, **changes}.items())


async def test_pages_ask_for_a_login_and_lead_back(browser, make):
    answer = await browser.client.get("/reserve?class=x", allow_redirects=False)
    assert answer.status == 303
    assert URL(answer.headers["Location"]).query["next"] == "/reserve?class=x"
    await make.account("Ada", password=PASSWORD)
    answer = await browser.log_in("ada@example.com", page=answer.headers["Location"])
    assert (answer.status, answer.headers["Location"]) == (303, "/reserve?class=x")
    assert (await browser.get("/"))[0] == 200


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil", "x"])
async def test_a_login_leads_nowhere_else(browser, make, target):
    await make.account("Ada", password=PASSWORD)
    answer = await browser.log_in("ada@example.com", page="/login?" + urlencode({"next": target}))
    assert answer.headers["Location"] == "/"


async def test_a_wrong_login_says_the_same_whether_the_account_exists_or_not(browser, make):
    await make.account("Ada", password=PASSWORD)
    await make.account("Tok")
    pages = set()
    for email in ("ada@example.com", "tok@example.com", "nobody@example.com"):
        answer = await browser.log_in(email, "wrong password")
        assert answer.status == 401
        text = await answer.text()
        pages.add(text.replace(email, "").replace(re.search('csrf" value="(.*?)"', text)[1], ""))
    assert len(pages) == 1


async def test_failed_logins_close_the_door_for_a_while(browser, make, clock):
    await make.account("Ada", password=PASSWORD)
    for _ in range(10):
        assert (await browser.log_in("ada@example.com", "wrong")).status == 401
    assert (await browser.log_in("ada@example.com")).status == 429
    clock.turn(minutes=15)
    assert (await browser.log_in("ada@example.com")).status == 303


async def test_the_session_cookie_is_out_of_reach_of_scripts(browser, make, services):
    from dataclasses import replace

    await make.account("Ada", password=PASSWORD)
    cookie = (await browser.log_in("ada@example.com")).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    app = make_app(replace(services, public_url="https://rent.example.com"))
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/login")
        assert answer.headers["Set-Cookie"].startswith("__Host-ironlease=")
        assert "Secure" in answer.headers["Set-Cookie"]
        assert "Strict-Transport-Security" in answer.headers


async def test_a_session_ends_by_age_logout_and_a_new_password(ada, make, services, clock):
    assert (await ada.get("/"))[0] == 200
    clock.turn(hours=12)
    assert (await ada.get("/"))[0] == 303
    await ada.log_in("ada@example.com")
    async with services.database.write() as session:
        from provisioner.accounts.accounts import find_account

        account = await find_account(session, "ada@example.com")
        kept, account.password_hash = account.password_hash, "other"
    assert (await ada.get("/"))[0] == 303
    async with services.database.write() as session:
        (await session.get_one(type(account), account.id)).password_hash = kept
    assert (await ada.post("/", "/logout")).status == 303
    assert (await ada.get("/"))[0] == 303


async def test_a_forged_cookie_is_nobody(browser):
    for value in ("x", "gAAAAABm", "{}"):
        answer = await browser.client.get(
            "/", headers={"Cookie": f"ironlease={value}"}, allow_redirects=False
        )
        assert answer.status == 303


async def test_a_form_from_elsewhere_is_refused(ada, make, services):
    await make.stock()
    forged = [("csrf", "guess"), *reservation_fields(public_key=public_key())]
    answer = await ada.client.post("/reserve", data=dict(forged), allow_redirects=False)
    assert answer.status == 403
    answer = await ada.post(
        "/reserve",
        "/reserve",
        *reservation_fields(public_key=public_key()),
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert answer.status == 403
    assert "<h1>Forbidden</h1>" in await answer.text()
    async with services.database.read() as session:
        assert (await session.exec(select(func.count()).select_from(Reservation))).one() == 0


async def test_a_reservation_is_made_with_a_new_key_in_the_same_form(ada, make, services):
    await make.stock()
    answer = await ada.post(
        "/reserve",
        "/reserve",
        *reservation_fields(public_key=public_key("me@laptop"), user_data="#!/bin/sh\r\ntrue\r\n"),
    )
    assert answer.status == 303
    status, page = await ada.get(answer.headers["Location"])
    assert status == 200
    assert "preparing" in page
    assert "r1-u01" in page
    assert "data-live" in page
    async with services.database.read() as session:
        assert (await session.exec(select(SshKey.name))).one() == "me@laptop"
        reservation = (await session.exec(select(Reservation))).one()
    assert reservation.user_data == "#!/bin/sh\ntrue\n"
    assert (reservation.ends_at - reservation.starts_at).total_seconds() == 7200


async def test_a_mistake_keeps_what_was_typed_and_no_key(ada, make, services):
    await make.stock()
    line = public_key("<script>alert(1)</script>")
    answer = await ada.post(
        "/reserve",
        "/reserve",
        *reservation_fields(
            public_key=line, hostname='"><b>bad', amount="3", user_data="</textarea><i>"
        ),
    )
    page = await answer.text()
    assert answer.status == 422
    assert "A host name has letters" in page
    assert 'value="3"' in page
    assert "&lt;/textarea&gt;&lt;i&gt;" in page
    assert "&#34;&gt;&lt;b&gt;bad" in page
    assert "<script>alert" not in page
    async with services.database.read() as session:
        assert (await session.exec(select(func.count()).select_from(SshKey))).one() == 0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"amount": "x"}, "Enter a number"),
        ({"amount": "nan"}, "Enter a number"),
        ({"amount": "1e400"}, "Enter a number"),
        ({"unit": "years"}, "Enter a number"),
        ({"amount": "0"}, "out of range"),
        ({"public_key": "hello"}, "not an SSH public key"),
        ({"image": "none"}, "No such image"),
        ({"class": "none"}, "No such server class"),
        ({}, "At least one key is required"),
    ],
)
async def test_each_mistake_is_told_at_its_field(ada, make, changes, text):
    await make.stock()
    fields = {"public_key": public_key(), **changes} if changes else {}
    answer = await ada.post("/reserve", "/reserve", *reservation_fields(**fields))
    page = await answer.text()
    assert (answer.status, text in page) == (422, True)
    assert re.search(r'class="fault"[^>]*>[^<]*' + re.escape(text), page)


async def test_sending_a_form_twice_reserves_once(ada, make, services):
    await make.stock(2)
    await ada.post("/keys", "/keys", ("public_key", public_key()), ("key_name", "laptop"))
    async with services.database.read() as session:
        key = (await session.exec(select(SshKey))).one()
    _, text = await ada.get("/reserve")
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
    fields = {**hidden, **dict(reservation_fields(ssh_keys=key.id))}
    to = [
        (await ada.client.post("/reserve", data=fields, allow_redirects=False)).headers["Location"]
        for _ in range(2)
    ]
    assert to[0] == to[1]


async def test_giving_a_server_back_needs_the_form(ada, make):
    await make.stock()
    answer = await ada.post("/reserve", "/reserve", *reservation_fields(public_key=public_key()))
    page = answer.headers["Location"]
    assert (await ada.client.post(f"{page}/release")).status == 415
    assert (await ada.post(page, f"{page}/release")).status == 303
    _, text = await ada.get(page)
    assert "Give the server back" not in text
    assert "being taken back" in text


async def test_a_customer_sees_neither_anothers_pages_nor_operators(ada, make):
    (server,) = await make.stock()
    eve, _ = await make.account("Eve")
    lease = await make.lease(server, eve)
    assert (await ada.get(f"/reservations/{lease.reservation_id}"))[0] == 404
    assert (await ada.get(f"/reservations/{lease.reservation_id}/events"))[0] == 404
    for path in ("/servers", "/servers/r1-u01", "/incidents", "/operations/x"):
        status, page = await ada.get(path)
        assert status == 403
        assert "r1-u01" not in page


async def test_operators_pages_show_state_reason_and_next_action(browser, make, services):
    await make.account("Op", Role.OPERATOR, password=PASSWORD)
    await make.server_class()
    server = await make.server(
        1, State.QUARANTINED, reason="fan <broken>", next_action="replace the fan"
    )
    operation = await make.operation(server)
    await make.step(operation, operation.step, 3.0)
    await make.log(operation, "<b>no DHCP</b>")
    await make.add(
        Incident(
            server_id=server.id,
            operation_id=operation.id,
            kind="fault",
            reason="fan <broken>",
            next_action="replace the fan",
            opened_at=services.clock(),
        )
    )
    await browser.log_in("op@example.com")
    for path in ("/servers", "/servers?state=quarantined", "/servers/r1-u01", "/incidents"):
        status, page = await browser.get(path)
        assert status == 200
        assert "Fan &lt;broken&gt;." in page
        assert "Replace the fan." in page
    for path in ("/servers/r1-u01", f"/operations/{operation.id}"):
        _, page = await browser.get(path)
        assert "&lt;b&gt;no DHCP&lt;/b&gt;" in page
        assert "await ramdisk" in page
    assert (await browser.get("/servers?state=nonsense"))[0] == 200
    assert (await browser.get("/operations/none"))[0] == 404


async def test_pages_load_nothing_from_elsewhere(ada, make):
    await make.stock()
    for path in ("/", "/reserve", "/keys"):
        _, page = await ada.get(path)
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
        assert "style=" not in page
        assert not re.search(r"<script>|\son\w+=", page)
    for path in ("style.css", "pages.js", "icon.svg"):
        assert (await ada.get(f"/static/{path}"))[0] == 200


async def test_an_unknown_page_is_a_page(ada):
    status, page = await ada.get("/none")
    assert status == 404
    assert "<h1>Not Found</h1>" in page


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"csrf=\xff", "application/x-www-form-urlencoded", 400),
        (b"csrf=x", "application/x-www-form-urlencoded; charset=nonsense", 400),
        (b"csrf=%00", "application/x-www-form-urlencoded", 400),
        (b"csrf=%ff%fe", "application/x-www-form-urlencoded", 400),
        (b"--x", "multipart/form-data; boundary=x", 415),
        (b"", "multipart/form-data", 415),
        (b"{}", "application/json", 415),
        (b"csrf=" + b"x" * 600_000, "application/x-www-form-urlencoded", 413),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_hostile_form_is_answered_calmly(ada, body, content_type, status):
    for path in ("/login", "/reserve"):
        answer = await ada.client.post(
            path, data=body, headers={"Content-Type": content_type}, allow_redirects=False
        )
        assert answer.status == status
        assert answer.content_type == "text/html"
