"""A page renews itself under its reader's hands: focus, selection, what is opened, scrolled and
typed stay. In a real browser.
"""

import pytest
from health_rows import incident
from playwright.async_api import expect
from service_factories import PASSWORD

from provisioner.domain.access import Role
from provisioner.domain.lifecycle import State, Step, Verb

_FOCUSED = "document.activeElement.textContent.trim()"
_SELECTED = "getSelection().toString()"
_SELECT = "node => getSelection().selectAllChildren(node)"


@pytest.fixture
async def operator_page(page, make):
    """A page of an operator who is logged in."""
    account, _ = await make.account("Olga", Role.OPERATOR, password=PASSWORD)
    await page.goto("/login")
    await page.get_by_label("E-mail").fill("olga@example.com")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url("/")
    page.account = account
    yield page
    assert page.errors == []


@pytest.fixture
async def server(make):
    return (await make.stock())[0]


@pytest.fixture
async def lease(make, operator_page, server, clock):
    """A running lease, shown on the page."""
    row = await make.lease(
        server, operator_page.account, ready_at=clock(), host_key="ssh-ed25519 AAAAhost"
    )
    await make.operation(server, Verb.IMAGE, ended_at=clock(), lease_id=row.id)
    await operator_page.goto(f"/reservations/{row.reservation_id}")
    return row


@pytest.fixture
def renew(make, lease, server, operator_page):
    """Makes the lease's page show something new."""

    async def until_shown():
        operation = await make.operation(server, Verb.REBOOT, lease_id=lease.id)
        await make.step(operation, Step.SHUT_DOWN)
        await expect(operator_page.locator(".phases li.running")).to_have_count(1)

    return until_shown


async def test_the_focus_stays_where_it_is(operator_page, renew):
    await operator_page.get_by_role("button", name="Reboot").focus()
    await renew()
    assert await operator_page.evaluate(_FOCUSED) == "Reboot"


async def test_a_selection_stays(operator_page, renew):
    command = operator_page.locator(".copyable pre").first
    await command.evaluate(_SELECT)
    await renew()
    assert await operator_page.evaluate(_SELECTED) == "ssh root@10.77.0.11"


async def test_selected_text_is_not_rewritten_until_it_is_let_go(operator_page, lease, clock):
    """The remaining time changes all the time; one may still copy it."""
    await operator_page.locator(".left").evaluate(_SELECT)
    selected = await operator_page.evaluate(_SELECTED)
    assert "2 h left" in selected
    clock.turn(minutes=7)
    await operator_page.evaluate("renew()")
    await operator_page.evaluate("tick()")
    assert await operator_page.evaluate(_SELECTED) == selected
    await operator_page.evaluate("getSelection().empty()")
    await operator_page.evaluate("renew()")
    await expect(operator_page.locator(".left")).to_contain_text("1 h 53 min left")


async def test_what_is_opened_stays_open_and_what_is_closed_closed(
    operator_page, lease, server, make, clock
):
    operation = await make.operation(server, Verb.INSPECT, started_at=clock())
    await make.log(operation, "first line")
    await operator_page.goto(f"/servers/{server.name}")
    log = operator_page.locator("details", has=operator_page.locator(".log"))
    await log.locator("summary").click()
    await make.step(operation, Step.COLLECT_FACTS)
    await expect(operator_page.locator(".phases li.running")).to_have_count(1)
    await expect(log).not_to_have_attribute("open", "")
    await log.locator("summary").click()
    await make.log(operation, "second line")
    await expect(log.get_by_text("second line")).to_be_visible()


async def test_a_scrolled_log_stays_where_it_is(operator_page, lease, server, make, clock):
    operation = await make.operation(server, Verb.INSPECT, started_at=clock())
    await make.log(operation, *(f"line {n}" for n in range(150)))
    await operator_page.goto(f"/operations/{operation.id}")
    log = operator_page.locator(".log")
    await log.evaluate("log => { log.scrollTop = 500; }")
    await make.log(operation, "the news")
    await expect(log).to_contain_text("the news")
    assert await log.evaluate("log => log.scrollTop") == 500


async def test_a_log_that_is_read_at_its_end_follows(operator_page, lease, server, make, clock):
    operation = await make.operation(server, Verb.INSPECT, started_at=clock())
    await make.log(operation, *(f"line {n}" for n in range(150)))
    await operator_page.goto(f"/operations/{operation.id}")
    log = operator_page.locator(".log")
    assert await log.evaluate("atEnd")
    await make.log(operation, "the news")
    await expect(log).to_contain_text("the news")
    assert await log.evaluate("atEnd")


async def test_a_confirmation_stays_open_while_the_page_goes_on(
    operator_page, lease, server, make, renew
):
    await incident(make, server, lease)
    await operator_page.get_by_text("Get another server…").click()
    await renew()
    await expect(operator_page.get_by_role("button", name="Swap the server now")).to_be_visible()


async def test_what_is_typed_or_chosen_in_a_form_is_kept(operator_page, server, make, renew):
    await make.image("ubuntu-24")
    await operator_page.reload()
    await operator_page.get_by_text("Reinstall the server…").click()
    await operator_page.get_by_label("Image").select_option("ubuntu-24")
    await operator_page.get_by_role("button", name="Reboot").focus()
    await renew()
    await expect(operator_page.get_by_label("Image")).to_have_value("ubuntu-24")


async def test_what_becomes_possible_appears_without_a_reload(operator_page, server, make, clock):
    lease = await make.lease(server, operator_page.account)
    await operator_page.goto(f"/reservations/{lease.reservation_id}")
    await expect(operator_page.get_by_text("Reinstall the server…")).to_have_count(0)
    lease.ready_at = clock()
    await make.merge(lease)
    await expect(operator_page.get_by_text("Reinstall the server…")).to_be_visible()


async def test_rows_keep_their_focus_when_others_come_and_go(operator_page, make):
    _, second = await make.stock(2)
    await operator_page.goto("/servers")
    await operator_page.get_by_role("link", name=second.name).focus()
    second.state = State.QUARANTINED
    await make.merge(second)
    await expect(operator_page.locator("tr", has_text=second.name)).to_contain_text("quarantined")
    assert await operator_page.evaluate(_FOCUSED) == second.name
