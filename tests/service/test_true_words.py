"""What pages and API say of a reservation and its server is true in each of their states."""

import re

import pytest
from health_rows import LOST, gpu, health, heard, incident, judged, lost
from service_factories import PASSWORD, public_key

from provisioner.domain.access import Role
from provisioner.domain.lifecycle import Step, Verb
from provisioner.service.views.phases import TITLES


@pytest.fixture
async def ada(make, browser):
    account, _ = await make.account("Ada", Role.OPERATOR, password=PASSWORD)
    await browser.log_in("ada@example.com")
    return account


@pytest.fixture
async def server(make):
    server = (await make.stock())[0]
    server.expect = {"gpus": 8}
    await make.merge(server)
    return server


@pytest.fixture
async def lease(make, ada, server, clock):
    clock.turn(hours=-1)
    row = await make.lease(server, ada, ready_at=clock(), host_key="ssh-ed25519 AAAA")
    clock.turn(hours=1)
    return row


@pytest.fixture
def shown(browser, lease):
    """The text of the overview and of the lease's page."""

    async def texts():
        paths = ("/reservations", f"/reservations/{lease.reservation_id}")
        return [_text((await browser.get(path))[1]) for path in paths]

    return texts


def _text(page):
    return " ".join(re.sub(r"<[^>]*>", " ", page.partition("<main>")[2]).split())


async def test_a_lease_with_a_fault_is_not_shown_as_ready(make, server, lease, shown):
    for text in await shown():
        assert "ready" in text
    await incident(make, server, lease)
    overview, page = await shown()
    for text in (overview, page):
        assert "faulty" in text
        assert LOST in text
    assert "ready" not in overview


async def test_an_early_release_is_not_the_end_of_the_time(make, lease, shown, clock):
    reservation = await make.get_reservation(lease)
    reservation.released_at = lease.ends_at = clock()
    lease.end_reason = "released"
    await make.merge(reservation, lease)
    overview, page = await shown()
    assert "ending" in overview
    assert "released, being taken back" in overview
    assert "Released early, 2026-01-05 12:00:00 UTC . The server is being taken back." in page
    assert "time is up" not in page
    reservation.state, lease.ended_at = "ended", clock()
    await make.merge(reservation, lease)
    assert "Ended 2026-01-05 12:00:00 UTC , released early" in (await shown())[1]


async def test_the_end_of_the_time_is_said_as_it_is(shown, lease, clock):
    clock.turn(hours=3)
    overview, page = await shown()
    assert "its time is up, being taken back" in overview
    assert "Your time is up. The server is being taken back." in page


async def test_after_a_swap_the_old_servers_end_is_not_the_customers(make, lease, shown, clock):
    """It waits for another server; the time goes on."""
    reservation = await make.get_reservation(lease)
    reservation.state = "waiting"
    lease.ends_at, lease.end_reason = clock(), "moved"
    await make.merge(reservation, lease)
    overview, page = await shown()
    assert "waiting" in overview
    assert "ends in 1 h" in overview
    assert "r1-u01" not in overview
    assert "1 h left" in page


@pytest.mark.parametrize(
    ("said", "level"),
    [
        (health(*(gpu(n) for n in range(8))), "ok"),
        (health(state="starting"), "not read yet"),
        (health(state="absent"), "not read yet"),
        (None, "not read yet"),
    ],
    ids=["read", "starting", "absent", "no_reader"],
)
async def test_health_is_not_ok_before_a_gpu_is_read(make, lease, shown, said, level):
    server = await make.get_server("r1-u01")
    await heard(make, server, said, lease=lease)
    await judged(make, server)
    assert f"Health {level}" in (await shown())[1]


async def test_an_operator_sees_no_ok_where_no_gpu_was_read(make, ada, server, browser, operator):
    await heard(make, server, health(state="absent"))
    await judged(make, server)
    for path in ("/servers", "/servers/r1-u01"):
        assert "badge not_read" in (await browser.get(path))[1]
    answer = await (await operator.get("/v1/servers/r1-u01")).json()
    assert answer["health"]["level"] is None
    assert (await (await operator.get("/v1/servers/r1-u01/health")).json())["level"] is None


async def test_the_ramdisk_counts_gpus_on_the_bus_so_its_ok_is_one(make, ada, server, browser):
    await heard(make, server, health(state="absent", gpus_on_bus=8))
    await judged(make, server)
    assert "badge ok" in (await browser.get("/servers"))[1]


async def test_a_lost_gpu_keeps_its_place_in_the_list(make, server, lease, browser, clock):
    await heard(make, server, health(*(gpu(n) for n in range(8) if n != 3)), lease=lease)
    await judged(make, server, lost(clock()))
    row = (await browser.get("/servers/r1-u01"))[1].partition('aria-label="GPUs"')[2]
    rows = [_text("<main>" + each) for each in row.split("<tr>")[2:10]]
    assert [each.split()[0] for each in rows] == [str(n) for n in range(8)]
    assert "faulty" in rows[3]
    assert "lost" in rows[3]


async def test_a_lost_gpu_that_no_rule_names_is_shown_too(make, server, lease, operator):
    await heard(make, server, health(*(gpu(n) for n in range(7))), lease=lease)
    await judged(make, server)
    gpus = (await (await operator.get("/v1/servers/r1-u01/health")).json())["gpus"]
    assert [(g["index"], g["lost"]) for g in gpus] == [(n, n == 7) for n in range(8)]
    assert (gpus[7]["level"], gpus[7]["summary"]) == ("faulty", "GPU 7 is missing")
    path = f"/v1/reservations/{lease.reservation_id}/health"
    series = (await (await operator.get(path)).json())["gpus"]
    assert [(g["index"], g["lost"]) for g in series] == [(n, n == 7) for n in range(8)]


async def test_inspection_knows_where_the_lost_gpu_was(make, server, operator):
    server.facts = {"gpus": [{"pci_address": f"0000:{n:02x}:00.0"} for n in range(8)]}
    await make.merge(server)
    after_a_reboot = [gpu(n, pci=f"0000:{m:02x}:00.0") for n, m in enumerate([0, 1, 2, 4, 5, 6, 7])]
    await heard(make, server, health(*after_a_reboot))
    gpus = (await (await operator.get("/v1/servers/r1-u01/health")).json())["gpus"]
    assert [g["uuid"] for g in gpus if g["lost"]] == ["0000:03:00.0"]


def test_every_step_has_a_title_for_customers() -> None:
    assert set(TITLES) == set(Step)
    for title in TITLES.values():
        assert not re.search(r"(?i)bmc|ramdisk|tenant|boot window|_", title)


async def test_a_customer_reads_no_step_by_its_internal_name(make, server, lease, shown):
    work = await make.operation(server, Verb.RECLAIM, lease_id=lease.id)
    await make.step(work, Step.DISABLE_BMC_USERS, 1.0)
    page = (await shown())[1]
    assert "Remove management logins" in page
    assert "bmc" not in page.lower()


async def test_user_data_that_would_be_dropped_is_refused_at_the_door(make, ada, server, browser):
    fields = [
        ("class", "lab-2nvme"),
        ("image", "debian-12"),
        ("amount", "1"),
        ("unit", "hours"),
        ("public_key", public_key()),
        ("user_data", "apt install git"),
    ]
    answer = await browser.post("/reserve", "/reserve", *fields)
    assert answer.status == 422
    assert "It would be ignored: user data for debian-12 must be a script" in await answer.text()
    fields[-1] = ("user_data", "#cloud-config\npackages: [git]\n")
    answer = await browser.post("/reserve", "/reserve", *fields)
    assert "debian-12 has no cloud-init" in await answer.text()


async def test_a_reinstallation_does_not_drop_user_data_either(make, server, lease, operator):
    other = await make.image("plain")
    reservation = await make.get_reservation(lease)
    reservation.user_data = "#cloud-config\n"
    await make.merge(reservation)
    answer = await operator.post(
        f"/v1/reservations/{reservation.id}/requests",
        json={"verb": "reinstall", "image": other.name},
    )
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (422, "bad_user_data")
    assert problem["errors"][0]["pointer"] == "/image"


async def test_an_image_with_cloud_init_takes_its_formats(make, ada, server, operator):
    image = await make.image("cloud")
    image.boot = {"user": "root", "cloud_init": True}
    await make.merge(image)
    answer = await operator.post(
        "/v1/reservations",
        json={
            "class": "lab-2nvme",
            "image": "cloud",
            "duration_s": 3600,
            "ssh_keys": [public_key()],
            "user_data": "#cloud-config\n",
        },
    )
    assert answer.status == 201
