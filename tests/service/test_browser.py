"""A real browser: log in, reserve with a pasted key, watch the lease become ready, give it back."""

from playwright.async_api import expect
from service_factories import PASSWORD, public_key
from sqlmodel import select

from provisioner.domain.lifecycle import Step, Verb
from provisioner.store.tables import Lease


async def test_from_login_to_a_lease_that_becomes_ready_by_itself(page, make, services):
    (server,) = await make.stock()
    await make.account("Ada", password=PASSWORD)
    await page.goto("/reserve")
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()

    await expect(page.get_by_role("heading", name="Reserve a server")).to_be_visible()
    await page.get_by_label("Public key").fill(public_key())
    await page.get_by_label("Host name").fill("trainer")
    await page.get_by_role("button", name="Reserve now").click()
    await expect(page.get_by_role("heading", name="trainer")).to_be_visible()
    await expect(page.locator(".badge").first).to_have_text("preparing")

    async with services.database.write() as session:
        lease = (await session.exec(select(Lease))).one()
    operation = await make.operation(server, Verb.IMAGE, Step.WRITE_IMAGE, lease_id=lease.id)
    await make.step(operation, Step.WRITE_IMAGE)
    await expect(page.locator(".phases li.running")).to_contain_text("Write your image")
    async with services.database.write() as session:
        row = (await session.exec(select(Lease))).one()
        row.ready_at, row.host_key = services.clock(), "ssh-ed25519 AAAAhost"
    await expect(page.locator(".badge").first).to_have_text("ready")
    await expect(page.locator(".copyable pre").first).to_have_text("ssh root@10.77.0.11")
    await expect(page.get_by_role("button", name="Copy").first).to_be_visible()

    await page.get_by_text("Give the server back…").click()
    await page.get_by_role("button", name="Give it back now").click()
    await expect(page.locator(".badge").first).to_have_text("ending")
    assert page.errors == []
