"""How servers, GPUs and a lease are, over the API."""

from datetime import timedelta

import pytest
from health_rows import (
    LOST,
    PRODUCT,
    finding,
    gpu,
    health,
    heard,
    incident,
    judged,
    lost,
    outage,
    sample,
    uuid,
)
from sqlmodel import select

from provisioner.domain.access import Role
from provisioner.domain.health import HealthAction, HealthLevel
from provisioner.store.tables import Image, Lease, Reservation


async def get(client, path, status=200):
    answer = await client.get(f"/v1{path}")
    assert answer.status == status
    return await answer.json()


async def test_a_server_that_nobody_heard_or_judged_is_not_called_well(operator, make):
    await make.stock()
    shown = await get(operator, "/servers/r1-u01/health")
    assert (shown["level"], shown["seen_at"], shown["findings"], shown["gpus"]) == (
        None,
        None,
        [],
        [],
    )
    assert (await get(operator, "/servers/r1-u01"))["health"] is None


async def test_a_servers_health_says_what_is_found_of_which_part(operator, make, clock):
    (server,) = await make.stock()
    noted = finding(
        "agent_silent",
        "server",
        HealthLevel.WATCH,
        HealthAction.NONE,
        summary="no report",
        at=clock(),
    )
    await judged(make, server, lost(clock()), noted)
    await heard(make, server, health(gpu(0), gpu(3, lost=True), gpu(1)))

    shown = await get(operator, "/servers/r1-u01/health")
    assert (shown["level"], shown["action"], shown["summary"]) == ("faulty", "quarantine", LOST)
    assert [(f["part"], f["level"]) for f in shown["findings"]] == [
        (uuid(3), "faulty"),
        ("server", "watch"),
    ]
    assert shown["findings"][0]["source"] == "NVML API"
    assert (shown["state"], shown["driver"], shown["context"]) == ("ok", "570.124.06", "ramdisk")
    assert [(g["index"], g["level"], g["lost"]) for g in shown["gpus"]] == [
        (0, "ok", False),
        (1, "ok", False),
        (3, "faulty", True),
    ]
    assert shown["gpus"][0]["product"] == PRODUCT
    assert shown["gpus"][0]["ecc_corrected"] == 4
    summary = (await get(operator, "/servers"))["items"][0]["health"]
    assert (summary["level"], summary["summary"]) == ("faulty", LOST)


async def test_the_newest_report_counts_whoever_sent_it(operator, make, clock):
    (server,) = await make.stock()
    await heard(make, server, health(gpu(0)), revoked_at=clock())
    clock.turn(minutes=5)
    await heard(make, server, health(state="absent", reason="no driver"))
    shown = await get(operator, "/servers/r1-u01/health")
    assert (shown["state"], shown["reason"], shown["gpus"]) == ("absent", "no driver", [])


async def test_an_agent_that_does_not_look_at_health_is_heard(operator, make):
    (server,) = await make.stock()
    await heard(make, server, None)
    shown = await get(operator, "/servers/r1-u01/health")
    assert (shown["seen_at"], shown["state"], shown["gpus"]) == ("2026-01-05T12:00:00Z", "", [])


async def test_bad_gpus_are_listed_even_when_their_report_is_gone(operator, make, clock):
    first, second, third = await make.stock(3)
    xid = finding(
        "xid_13", uuid(1), HealthLevel.OK, HealthAction.NONE, summary="the job's own", at=clock()
    )
    await judged(make, first, lost(clock()), xid)
    await heard(make, first, health(gpu(0), gpu(1), gpu(3)))
    await judged(make, second, lost(clock()))
    await heard(make, second, health(state="absent"))
    await judged(make, third)
    await heard(make, third, health(gpu(0)))

    bad = (await get(operator, "/gpus?bad=true"))["items"]
    assert [(g["server"], g["index"], g["uuid"], g["summary"]) for g in bad] == [
        ("r1-u01", 3, uuid(3), LOST),
        ("r1-u02", None, uuid(3), LOST),
    ]
    everything = (await get(operator, "/gpus"))["items"]
    assert [(g["server"], g["index"]) for g in everything] == [
        ("r1-u01", 0),
        ("r1-u01", 1),
        ("r1-u01", 3),
        ("r1-u02", None),
        ("r1-u03", 0),
    ]
    assert (await get(operator, "/gpus?rack=elsewhere"))["items"] == []
    assert len((await get(operator, "/gpus?class=lab-2nvme&rack=r1"))["items"]) == 5


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_gpus_come_in_pages_that_miss_and_repeat_nothing(operator, make, limit):
    servers = await make.stock(3)
    for server, count in zip(servers, (3, 0, 4), strict=True):
        await heard(make, server, health(*(gpu(n) for n in range(count))))
    found, cursor = [], ""
    while cursor is not None:
        answer = await get(operator, f"/gpus?limit={limit}&cursor={cursor}")
        assert 0 < len(answer["items"]) <= limit
        found += [(g["server"], g["index"]) for g in answer["items"]]
        cursor = answer["next"]
    assert found == [("r1-u01", n) for n in range(3)] + [("r1-u03", n) for n in range(4)]


async def test_a_senseless_cursor_is_no_error(operator, make):
    await make.stock()
    for cursor in ("x", "r1-u01", "r1-u01/x", "/", "r1-u01/²"):
        assert (await get(operator, f"/gpus?cursor={cursor}"))["items"] == []


async def test_health_of_servers_is_operators_business(customer, make):
    await make.stock()
    for path in ("/servers/r1-u01/health", "/gpus", "/gpus?bad=true"):
        await get(customer, path, 403)


@pytest.fixture
async def leased(make, clock, services, as_role):
    """Ada's client, her server and her lease, ready for an hour."""
    (server,) = await make.stock()
    ada, token = await make.account("Ada")
    clock.turn(hours=-1)
    lease = await make.lease(server, ada, ready_at=clock())
    clock.turn(hours=1)
    eve = await as_role(Role.CUSTOMER, "Eve")
    return eve, {"Authorization": f"Bearer {token}"}, server, lease


async def test_a_customer_sees_her_own_time_only(leased, make, clock, anybody):
    eve, ada, server, lease = leased
    mine = {"index": 0, "temperature_c": 50, "power_w": 300.5, "ecc_corrected": 4}
    await sample(make, server, clock() - timedelta(hours=2), {"index": 0, "temperature_c": 99})
    await sample(make, server, clock() - timedelta(minutes=10), mine)
    await sample(make, server, clock() - timedelta(minutes=5), mine, {"index": 1, "power_w": 80.0})
    await heard(make, server, health(gpu(0), gpu(1)), lease=lease)
    path = f"/v1/reservations/{lease.reservation_id}/health"

    shown = await (await anybody.get(path, headers=ada)).json()
    assert shown["at"] == ["2026-01-05T11:50:00Z", "2026-01-05T11:55:00Z"]
    first, second = shown["gpus"]
    assert (first["index"], first["product"], first["memory_total_mib"]) == (0, PRODUCT, 81_559)
    assert first["temperature_c"] == [50, 50]
    assert first["utilization_percent"] == [None, None]
    assert second["power_w"] == [None, 80.0]
    assert (shown["state"], shown["seen_at"]) == ("ok", "2026-01-05T12:00:00Z")
    assert (await eve.get(path)).status == 404


async def test_a_customer_is_told_of_her_servers_fault_and_of_nothing_else(
    leased, make, clock, anybody
):
    _, ada, server, lease = leased
    began = clock() - timedelta(minutes=20)
    other = await make.server(2)
    another = await make.lease(other, (await make.account("Bob"))[0])
    await judged(make, server, lost(began))
    await heard(make, server, health(gpu(0)), lease=lease)
    await incident(make, server, lease, opened_at=began)
    await incident(make, server, lease, kind="access", reason="BMC user planted")
    await incident(make, server, lease, opened_at=began, closed_at=clock(), reason="was hot")
    await incident(make, other, another, reason="GPU 1 of r1-u02")
    await outage(make, lease, began, began + timedelta(minutes=5))
    await outage(make, lease, clock() - timedelta(minutes=2), None)
    await outage(make, another, began, None)

    answer = await anybody.get(f"/v1/reservations/{lease.reservation_id}/health", headers=ada)
    shown = await answer.json()
    assert (shown["level"], shown["summary"]) == ("faulty", LOST)
    assert shown["incidents"] == [{"summary": LOST, "opened_at": "2026-01-05T11:40:00Z"}]
    assert [(o["ended_at"], o["seconds"]) for o in shown["outages"]] == [
        (None, 120),
        ("2026-01-05T11:45:00Z", 300),
    ]
    assert shown["not_billed_s"] == 420
    for secret in ("swap the server", "quarantine", "planted", "r1-u02"):
        assert secret not in await answer.text()
    reservation = await anybody.get(f"/v1/reservations/{lease.reservation_id}", headers=ada)
    assert (await reservation.json())["lease"]["incidents"] == shown["incidents"]


async def test_after_the_end_the_server_is_no_longer_the_customers_to_see(
    leased, make, clock, anybody, services
):
    _, ada, server, lease = leased
    await sample(make, server, clock() - timedelta(minutes=10), {"index": 0, "power_w": 1.0})
    async with services.database.write() as session:
        row = await session.get_one(Lease, lease.id)
        row.ends_at = clock()
        row.ended_at = clock()
    await heard(make, server, health(gpu(0)), lease=lease)
    await sample(make, server, clock(), {"index": 0, "power_w": 2.0})
    clock.turn(minutes=10)
    await judged(make, server, lost(clock()))
    answer = await anybody.get(f"/v1/reservations/{lease.reservation_id}/health", headers=ada)
    shown = await answer.json()
    assert shown["level"] is None
    assert shown["summary"] == ""
    assert shown["gpus"][0]["power_w"] == [1.0]


async def test_a_server_is_not_called_well_before_its_agent_was_heard(leased, make, anybody):
    _, ada, server, lease = leased
    await judged(make, server)
    answer = await anybody.get(f"/v1/reservations/{lease.reservation_id}/health", headers=ada)
    assert (await answer.json())["level"] is None


async def test_a_reservation_that_waits_has_no_health(make, anybody, services):
    await make.stock()
    account, token = await make.account("Ada")
    async with services.database.read() as session:
        image = (await session.exec(select(Image))).one()
    waiting = Reservation(
        account_id=account.id,
        class_name="lab-2nvme",
        image_id=image.id,
        starts_at=services.clock(),
        ends_at=services.clock() + timedelta(hours=1),
        hostname="box",
        authorized_keys=[],
    )
    await make.add(waiting)
    answer = await anybody.get(
        f"/v1/reservations/{waiting.id}/health", headers={"Authorization": f"Bearer {token}"}
    )
    shown = await answer.json()
    assert (answer.status, shown["gpus"], shown["level"]) == (200, [], None)
