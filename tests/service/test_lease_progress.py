"""What a lease's page shows by itself, to its end and beyond, and when it is left alone."""

import pytest
from playwright.async_api import expect
from service_factories import PASSWORD, START

from provisioner.domain.lifecycle import State, Step, Verb

_RELOADS = 'http-equiv="refresh"'


@pytest.fixture
async def ada(make, browser):
    account, _ = await make.account("Ada", password=PASSWORD)
    await browser.log_in("ada@example.com")
    return account


@pytest.fixture
async def server(make):
    return (await make.stock())[0]


@pytest.fixture
def make_lease(make, ada, server, clock):
    async def lease(**values):
        ready = {"ready_at": clock(), "host_key": "ssh-ed25519 AAAAhost"}
        return await make.lease(server, ada, **{**ready, **values})

    lease.clock = clock
    return lease


@pytest.fixture
def shown(browser):
    async def text(lease):
        return (await browser.get(f"/reservations/{lease.reservation_id}"))[1]

    return text


@pytest.fixture
def pages(browser, shown):
    """The lease's page and the overview."""

    async def texts(lease):
        return await shown(lease), (await browser.get("/"))[1]

    return texts


async def test_the_proof_of_erasure_appears_by_itself_after_the_release(
    page, make, make_lease, server, clock
):
    lease = await make_lease()
    await page.goto(f"/reservations/{lease.reservation_id}")
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_text("Give the server back…").click()
    await page.get_by_role("button", name="Give it back now").click()
    await expect(page.locator(".badge").first).to_have_text("ending")

    clock.turn(seconds=20)
    await _end(make, lease, clock())
    await expect(page.get_by_text("Erasing 2 disks.")).to_be_visible()
    wipe = await make.operation(server, Verb.SANITISE, Step.SANITISE_DISKS)
    for letter in "AB":
        await make.certificate(server, wipe, f"IL01-{letter}", clock())
    await expect(page.get_by_role("heading", name="After your lease")).to_be_visible()
    await expect(page.get_by_text("IL01-B")).to_be_visible()
    await expect(page.get_by_text("Erasing")).to_have_count(0)
    await expect(page.locator("[data-live]")).to_have_count(0)
    assert page.errors == []


async def test_an_erasure_that_cannot_go_on_says_so(make, make_lease, server, shown, clock):
    lease = await make_lease(ended_at=clock())
    await _end(make, lease, clock())
    server.state = State.QUARANTINED
    await make.merge(server)
    assert "2 disks could not be erased yet. The server is out of service" in await shown(lease)


async def test_a_disk_that_is_gone_or_a_next_tenant_ends_the_wait(
    make, make_lease, server, shown, clock
):
    lease = await make_lease(ended_at=clock())
    await _end(make, lease, clock())
    assert "Erasing 2 disks" in await shown(lease)
    clock.turn(days=1)
    other, _ = await make.account("Bob")
    await make.lease(server, other)
    text = await shown(lease)
    assert "Erasing" not in text
    assert "data-live" not in text


@pytest.mark.parametrize(
    ("values", "hours", "reloads"),
    [
        pytest.param({}, 0, False, id="ready"),
        pytest.param({"stopped_at": START}, 0, False, id="stopped"),
        pytest.param({"ready_at": None}, 0, True, id="preparing"),
        pytest.param({}, 3, True, id="ending"),
    ],
)
async def test_without_javascript_only_a_page_that_changes_soon_is_loaded_again(
    make_lease, pages, values, hours, reloads
):
    lease = await make_lease(**values)
    make_lease.clock.turn(hours=hours)
    for text in await pages(lease):
        assert (_RELOADS in text) is reloads


async def test_without_javascript_work_on_a_lease_is_followed(make, make_lease, server, shown):
    lease = await make_lease()
    work = await make.operation(server, Verb.REBOOT, lease_id=lease.id)
    await make.step(work, Step.SHUT_DOWN)
    assert _RELOADS in await shown(lease)


async def test_over_plain_http_copying_works_without_the_clipboards_interface(
    insecure_page, make, make_lease
):
    lease = await make_lease()
    page = insecure_page
    await page.goto(f"/reservations/{lease.reservation_id}")
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    button = page.get_by_role("button", name="Copy").first
    await button.click()
    assert await page.evaluate("isSecureContext") is False
    await expect(page.locator(".copyable button").first).to_have_text("Copied")
    assert await page.evaluate("getSelection().toString()") == "ssh root@10.77.0.11"


async def _end(make, lease, at):
    reservation = await make.get_reservation(lease)
    reservation.state = "ended"
    lease.ends_at = lease.ended_at = at
    await make.merge(reservation, lease)
