"""Every page by the rules of axe, on a phone and on a desk, in the light and in the dark."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from health_rows import a_day, gpu, health, heard, incident, judged, lost, outage
from service_factories import PASSWORD

from provisioner.domain.access import Role
from provisioner.domain.lifecycle import Step, Verb
from provisioner.store.tables import SshKey

PHONE = 390
_SCREENS = [(width, scheme) for width in (PHONE, 1440) for scheme in ("light", "dark")]


@pytest.fixture
async def paths(make, clock):
    """The pages of a site with a faulty lease, an earlier one, a server being wiped, and a key."""
    first, second, third = await make.stock(3)
    ada, _ = await make.account("Ada", Role.OPERATOR, password=PASSWORD)
    clock.turn(days=-2)
    lease = await make.lease(
        first, ada, lasts=timedelta(days=9), ready_at=clock(), host_key="ssh-ed25519 AAAA"
    )
    earlier = await make.lease(
        second, ada, lasts=timedelta(hours=1), ready_at=clock(), ended_at=clock()
    )
    clock.turn(days=2)
    await a_day(make, first)
    await heard(make, first, health(*(gpu(n, lost=n == 3) for n in range(8))), lease=lease)
    await judged(make, first, lost(clock()))
    await outage(make, lease, clock() - timedelta(hours=1), None)
    await incident(make, first, lease)
    await incident(make, second, earlier, closed_at=clock())
    operation = await make.operation(third, Verb.SANITISE, Step.SANITISE_DISKS)
    await make.step(operation, Step.SANITISE_DISKS)
    await make.log(operation, *(f"a line of the log, number {n}" for n in range(60)))
    for server in (first, second):
        wiped = await make.operation(server, Verb.SANITISE, ended_at=clock())
        await make.certificate(server, wiped, f"{server.serial}-A", clock() - timedelta(days=3))
    await make.add(SshKey(account_id=ada.id, name="laptop", public_key="k", fingerprint="SHA256:a"))
    return (
        "/",
        "/reservations",
        "/reserve",
        "/keys",
        "/webhook",
        "/account",
        "/servers",
        f"/servers/{first.name}",
        f"/servers/{third.name}",
        "/servers/nothing",
        "/servers?state=quarantined&page=2",
        f"/servers/act?action=quarantine&server={first.name}&server={third.name}&server=nothing",
        "/incidents",
        "/incidents?show=all&group=server",
        "/docs/runbook",
        f"/operations/{operation.id}",
        f"/reservations/{lease.reservation_id}",
        f"/reservations/{lease.reservation_id}/extend",
        f"/reservations/{earlier.reservation_id}",
        "/docs",
    )


@pytest.mark.parametrize(("width", "scheme"), _SCREENS)
async def test_axe_finds_nothing_and_no_page_is_wider_than_the_screen(page, paths, width, scheme):
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size({"width": width, "height": 900})
    found = []
    await page.goto("/login")
    found += await _faults(page)
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url("/")
    for path in paths:
        await page.goto(path)
        found += await _faults(page)
    assert found == []


async def test_all_of_the_navigation_is_on_a_phones_screen(page, paths):
    await page.set_viewport_size({"width": PHONE, "height": 900})
    await page.goto("/servers")
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    links = page.locator("header nav a")
    await links.last.wait_for()
    boxes = [await link.bounding_box() for link in await links.all()]
    assert len(boxes) == 7
    assert all(box["x"] + box["width"] <= PHONE for box in boxes)


async def _faults(page):
    path = urlsplit(page.url).path
    wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
    response = (await Axe().run(page)).response
    return [(path, "wider than the screen")] * wide + [
        (path, fault["id"], fault["nodes"][0]["target"]) for fault in response["violations"]
    ]
