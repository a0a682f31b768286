"""A lease's page: start, stop, reboot, power-cycle and reinstall the server."""

import pytest
from service_factories import PASSWORD
from sqlmodel import select

from provisioner.domain.lifecycle import RequestOutcome, RequestVerb, State
from provisioner.store.tables import Lease, ServerRequest


@pytest.fixture
async def lease(browser, make, services):
    """Ada is logged in, and was handed over a server."""
    await make.server_class()
    await make.image()
    server = await make.server(1, State.LEASED)
    ada, _ = await make.account("Ada", password=PASSWORD)
    lease = await make.lease(server, ada, ready_at=services.clock())
    await browser.log_in("ada@example.com")
    return lease


async def filed(services):
    async with services.database.read() as session:
        return (await session.exec(select(ServerRequest))).all()


@pytest.mark.parametrize("verb", ["stop", "start", "reboot", "power_cycle"])
async def test_a_button_files_a_request(browser, lease, services, verb):
    page = f"/reservations/{lease.reservation_id}"
    _, text = await browser.get(page)
    assert f'name="verb" value="{verb}"' in text
    answer = await browser.post(page, f"{page}/requests", ("verb", verb))
    assert (answer.status, answer.headers["Location"]) == (303, page)
    (row,) = await filed(services)
    assert (row.verb, row.lease_id) == (RequestVerb(verb), lease.id)
    assert "Last request" in (await browser.get(page))[1]


async def test_reinstalling_says_what_is_lost_and_what_stays(browser, lease, services):
    page = f"/reservations/{lease.reservation_id}"
    _, text = await browser.get(page)
    assert "All data on the system disk is lost." in text
    assert "host key and SSH keys stay the same" in text
    fields = [("verb", "reinstall"), ("image", "debian-12")]
    assert (await browser.post(page, f"{page}/requests", *fields)).status == 303
    (row,) = await filed(services)
    assert row.verb is RequestVerb.REINSTALL


async def test_a_stopped_server_says_so_and_can_be_started(browser, lease, services):
    page = f"/reservations/{lease.reservation_id}"
    async with services.database.write() as session:
        (await session.get_one(Lease, lease.id)).stopped_at = services.clock()
    _, text = await browser.get(page)
    assert "Stopped since" in text
    assert 'value="start"' in text
    assert 'value="reboot"' not in text
    assert "Log in" not in text


async def test_why_a_request_failed_is_told(browser, lease, services):
    async with services.database.write() as session:
        session.add(
            ServerRequest(
                server_id=lease.server_id,
                lease_id=lease.id,
                verb=RequestVerb.REBOOT,
                actor="account:acc_1",
                outcome=RequestOutcome.FAILED,
                ended_at=services.clock(),
                failure="the BMC <b>does not answer</b>",
            )
        )
    _, text = await browser.get(f"/reservations/{lease.reservation_id}")
    assert "The BMC &lt;b&gt;does not answer&lt;/b&gt;" in text


async def test_a_form_that_names_no_request_is_refused(browser, lease, services):
    page = f"/reservations/{lease.reservation_id}"
    for verb in ("", "explode", "sanitise"):
        answer = await browser.post(page, f"{page}/requests", ("verb", verb))
        assert answer.status in (409, 422)
    assert await filed(services) == []
