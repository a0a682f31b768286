"""Guessing passwords is limited, however many tries run at once, and nobody else is locked out."""

import asyncio
from collections import Counter
from dataclasses import replace
from ipaddress import ip_network
from threading import Event

import pytest
from aiohttp.test_utils import TestClient, TestServer
from form_browser import Browser
from service_factories import PASSWORD

from provisioner.accounts import passwords
from provisioner.service.app import make_app

WRONG = "a wrong password"
ADA, GRACE = "ada@example.com", "grace@example.com"


@pytest.fixture
async def visitors(services):
    """Makes browsers without a cookie in common, as through a reverse proxy."""
    clients = []
    app = make_app(replace(services, trusted_proxies=(ip_network("127.0.0.0/8"),)))
    async with TestServer(app) as server:

        def visitor(address):
            client = TestClient(server, headers={"X-Forwarded-For": address})
            clients.append(client)
            return Browser(client)

        yield visitor
        for client in clients:
            await client.session.close()


@pytest.fixture
def tried(monkeypatch):
    """The passwords that were really compared."""
    compared = []
    compare = passwords._matches

    def watched(stored, password):
        compared.append(password)
        return compare(stored, password)

    monkeypatch.setattr(passwords, "_matches", watched)
    return compared


async def test_many_tries_at_once_are_limited_like_one_after_the_other(visitors, make, tried):
    await make.account("Ada", password=PASSWORD)
    await make.account("Grace", password=PASSWORD)
    stranger = visitors("198.51.100.1")
    wrong = [stranger.log_in(ADA, WRONG) for _ in range(60)]
    right = visitors("198.51.100.2").log_in(GRACE)
    *failed, passed = await asyncio.gather(*wrong, right)
    statuses = Counter(answer.status for answer in failed)
    assert statuses == {401: 10, 429: 50}
    assert passed.status == 303
    assert Counter(tried) == {WRONG: 10, PASSWORD: 1}
    assert all(answer.headers["Retry-After"] for answer in failed if answer.status == 429)


async def test_no_stranger_locks_out_somebody_elsewhere(visitors, make):
    await make.account("Ada", password=PASSWORD)
    stranger = visitors("198.51.100.1")
    answers = [await stranger.log_in(ADA, WRONG) for _ in range(11)]
    assert answers[-1].status == 429
    assert (await visitors("198.51.100.2").log_in(ADA)).status == 303


async def test_a_known_browser_is_not_locked_out_by_strangers_at_its_own_address(visitors, make):
    await make.account("Ada", password=PASSWORD)
    known, stranger = visitors("198.51.100.1"), visitors("198.51.100.1")
    assert (await known.log_in(ADA)).status == 303
    await known.post("/", "/logout")
    for number in range(50):
        await stranger.log_in(f"nobody-{number}@example.com", WRONG)
    assert (await stranger.log_in(ADA)).status == 429
    assert (await known.log_in(ADA)).status == 303


async def test_a_known_browser_may_not_guess_either(visitors, make):
    await make.account("Ada", password=PASSWORD)
    known = visitors("198.51.100.1")
    await known.log_in(ADA)
    await known.post("/", "/logout")
    statuses = [(await known.log_in(ADA, WRONG)).status for _ in range(11)]
    assert statuses == [401] * 10 + [429]


async def test_a_browser_known_to_one_account_is_a_stranger_to_another(visitors, make, tried):
    await make.account("Ada", password=PASSWORD)
    await make.account("Grace", password=PASSWORD)
    browser = visitors("198.51.100.1")
    await browser.log_in(ADA)
    await browser.post("/", "/logout")
    tried.clear()
    statuses = [(await browser.log_in(GRACE, WRONG)).status for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    assert len(tried) == 10


async def test_one_account_is_not_guessed_from_many_addresses(visitors, make, tried):
    await make.account("Ada", password=PASSWORD)
    for number in range(12):
        stranger = visitors(f"198.51.100.{number}")
        for _ in range(10):
            await stranger.log_in(ADA, WRONG)
    assert len(tried) == 100


async def test_right_logins_count_against_nobody(visitors, make):
    await make.account("Ada", password=PASSWORD)
    for _ in range(12):
        assert (await visitors("198.51.100.1").log_in(ADA)).status == 303


async def test_when_too_many_passwords_wait_the_next_one_is_sent_away_and_not_counted(
    visitors, make, monkeypatch, admin
):
    await make.account("Ada", password=PASSWORD)
    held = Event()
    monkeypatch.setattr(passwords, "_matches", lambda *_: held.wait())
    waiting = [
        asyncio.create_task(passwords.matches("", WRONG))
        for _ in range(passwords._AT_ONCE + passwords._MOST_WAITING)
    ]
    await asyncio.sleep(0)
    browser = visitors("198.51.100.1")
    for _ in range(12):
        answer = await browser.log_in(ADA, WRONG)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    new = {"name": "Grace", "email": GRACE, "password": PASSWORD}
    answer = await admin.post("/v1/accounts", json=new)
    assert (answer.status, (await answer.json())["code"]) == (503, "passwords_busy")
    assert (await admin.get("/healthz")).status == 200
    held.set()
    await asyncio.gather(*waiting)
    monkeypatch.undo()
    assert (await browser.log_in(ADA)).status == 303
