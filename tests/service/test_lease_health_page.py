"""The lease's page about health: charts, the banner of a fault, outages, why nothing is seen."""

from datetime import timedelta

import pytest
from health_rows import LOST, a_day, gpu, health, heard, incident, judged, lost, outage
from playwright.async_api import expect
from service_factories import PASSWORD


@pytest.fixture
async def leased(make, clock):
    """Ada's server and lease, ready for two days."""
    (server,) = await make.stock()
    ada, _ = await make.account("Ada", password=PASSWORD)
    clock.turn(days=-2)
    lease = await make.lease(
        server, ada, lasts=timedelta(days=9), ready_at=clock(), host_key="ssh-ed25519 AAAA"
    )
    clock.turn(days=2)
    return server, lease


async def test_a_day_of_eight_gpus_and_a_fault_as_a_real_browser_shows_them(
    page, leased, make, clock
):
    server, lease = leased
    await a_day(make, server)
    await heard(make, server, health(*(gpu(n) for n in range(8) if n != 3)), lease=lease)
    await page.goto(f"/reservations/{lease.reservation_id}")
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()

    chart = page.get_by_role("img", name="GPU 5: Temperature", exact=True)
    await expect(chart).to_be_visible()
    await expect(page.get_by_role("img", name="Temperature")).to_have_count(8)
    await expect(page.get_by_role("heading", name="GPU 3")).to_be_visible()
    await expect(page.locator("figure", has=chart)).to_contain_text("°C")
    drawn = "document.querySelector('.charts path').getBoundingClientRect().toJSON()"
    box = await page.evaluate(drawn)
    assert box["width"] > 90
    assert box["height"] > 5
    for width in (390, 1100):
        await page.set_viewport_size({"width": width, "height": 900})
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.evaluate(overflow) == 0

    await judged(make, server, lost(clock() - timedelta(hours=1)))
    await outage(make, lease, clock() - timedelta(hours=1), None)
    await incident(make, server, lease, opened_at=clock() - timedelta(hours=1))
    banner = page.get_by_role("status")
    await expect(banner).to_contain_text(f"Something is wrong with your server. {LOST}.")
    await expect(banner).to_contain_text("You are not billed while it is unusable, 1 h so far.")
    await expect(page.locator("h2 .badge", has_text="faulty")).to_be_visible()
    await expect(page.get_by_role("row", name="ongoing")).to_contain_text(LOST)

    await make.server(2)
    await page.get_by_text("Get another server…").click()
    await page.get_by_role("button", name="Swap the server now").click()
    await expect(page.get_by_text("server r1-u02")).to_be_visible()
    await expect(banner).to_have_count(0)
    assert page.errors == []


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (health(state="absent"), "No GPU can be read: the server has none, or its NVIDIA driver"),
        (health(state="hung"), "The GPUs cannot be read: the NVIDIA driver does not answer."),
        (health(state="starting"), "The GPUs are being read for the first time"),
        (None, "The agent in your system does not read GPUs."),
        (health(gpu(0)), "Charts will appear within a few minutes."),
    ],
)
async def test_a_sentence_stands_where_no_chart_can(browser, leased, make, said, sentence):
    server, lease = leased
    await browser.log_in("ada@example.com")
    _, text = await browser.get(f"/reservations/{lease.reservation_id}")
    assert "The agent in your system has not reported yet" in text
    await heard(make, server, said, lease=lease)
    _, text = await browser.get(f"/reservations/{lease.reservation_id}")
    assert sentence in text
    assert "<svg" not in text


async def test_a_silent_agent_is_said_and_the_charts_stay(browser, leased, make, clock):
    server, lease = leased
    await a_day(make, server, gpus=1)
    await heard(make, server, health(gpu(0)), lease=lease)
    clock.turn(hours=2)
    await browser.log_in("ada@example.com")
    _, text = await browser.get(f"/reservations/{lease.reservation_id}")
    assert "The agent in your system last reported 2 h ago." in text
    assert "<svg" in text
    assert "style=" not in text


async def test_a_healthy_server_is_not_swapped_and_a_full_house_says_so(browser, leased, make):
    server, lease = leased
    await browser.log_in("ada@example.com")
    path = f"/reservations/{lease.reservation_id}"
    assert "Get another server" not in (await browser.get(path))[1]
    answer = await browser.post(path, f"{path}/swap")
    assert (answer.status, "No fault is known" in await answer.text()) == (409, True)
    await incident(make, server, lease)
    answer = await browser.post(path, f"{path}/swap")
    assert (answer.status, "No other server of class" in await answer.text()) == (409, True)


async def test_a_lease_that_is_not_ready_says_nothing_of_health(browser, make):
    (server,) = await make.stock()
    ada, _ = await make.account("Ada", password=PASSWORD)
    lease = await make.lease(server, ada)
    await browser.log_in("ada@example.com")
    _, text = await browser.get(f"/reservations/{lease.reservation_id}")
    assert "Health" not in text


async def test_what_a_tenant_writes_into_its_report_stays_text(browser, leased, make, clock):
    server, lease = leased
    await a_day(make, server, gpus=1)
    await heard(make, server, health(gpu(0, name="<b>H100</b>")), lease=lease)
    await incident(make, server, lease, reason="<i>GPU</i>")
    await browser.log_in("ada@example.com")
    _, text = await browser.get(f"/reservations/{lease.reservation_id}")
    assert "&lt;b&gt;H100" in text
    assert "&lt;i&gt;GPU" in text
    assert "<b>H100" not in text
