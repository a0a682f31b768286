"""Which webhook messages a lease causes from start to end, and how they are sent."""

import asyncio
import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from webhook_site import Answer, Receiver, Site
from world import CUSTOMER, World

from provisioner.domain.webhooks import WebhookEvent, headers
from provisioner.drivers.webhooks import NotDelivered
from provisioner.notifications import outbox
from provisioner.notifications.sender import CLAIM
from provisioner.notifications.webhooks import remove_webhook
from provisioner.store.columns import new_id
from provisioner.store.database import Database
from provisioner.store.tables import Incident, Reservation, WebhookMessage


@pytest.fixture
async def site(world: World) -> Site:
    site = Site(world)
    await site.set_webhook()
    return site


@pytest.fixture
async def leased(site: Site) -> tuple[Site, Reservation]:
    reservation = await site.world.reserve(hours=2)
    await site.world.settle()
    await site.sender.settle()
    return site, reservation


async def test_a_lease_is_told_from_ready_to_its_end(leased: tuple[Site, Reservation]) -> None:
    site, reservation = leased
    assert site.receiver.told() == ["lease.ready"]
    for minutes in (60, 30, 20, 8):
        await site.turn(minutes=minutes)
    await site.world.turn(minutes=3)
    await site.world.settle()
    await site.sender.settle()
    assert site.receiver.told("before_s") == [
        "lease.ready",
        "lease.ends_soon 3600",
        "lease.ends_soon 1800",
        "lease.ends_soon 600",
        "lease.ends_soon 120",
        "lease.ended",
    ]
    data = json.loads(site.receiver.got[-1][1])["data"]
    assert (data["reservation"], data["hostname"]) == (reservation.id, "train-1")
    assert data["reason"] == "expired"


async def test_a_warning_is_told_once_and_an_extension_arms_it_anew(
    leased: tuple[Site, Reservation],
) -> None:
    site, reservation = leased
    await site.turn(minutes=90)
    await site.turn(minutes=1)
    await site.extend(reservation, hours=1)
    await site.turn()
    await site.turn(minutes=60)
    assert site.receiver.told("before_s") == [
        "lease.ready",
        "lease.ends_soon 1800",
        "lease.extended",
        "lease.ends_soon 1800",
    ]


async def test_a_warning_from_before_the_end_was_set_is_none(
    leased: tuple[Site, Reservation],
) -> None:
    """Ten minutes are left after the extension: whoever extended it needs no warning of that."""
    site, reservation = leased
    await site.turn(minutes=116)
    await site.extend(reservation, minutes=5)
    await site.turn()
    assert site.receiver.told("before_s")[1:] == ["lease.ends_soon 600", "lease.extended"]


async def test_without_a_webhook_nothing_is_kept_to_be_told(world: World) -> None:
    site = Site(world)
    await world.settle()
    await world.reserve(hours=1)
    await world.settle()
    await site.turn(minutes=50)
    assert await site.messages() == []


async def test_what_was_before_the_webhook_is_not_told(world: World) -> None:
    site = Site(world)
    await world.settle()
    reservation = await world.reserve(hours=1)
    await world.settle()
    (lease,) = await world.leases(reservation)
    await site.turn(minutes=50)
    await open_incident(site, lease.id, lease.server_id)
    await site.turn(minutes=1)
    await site.set_webhook()
    await site.turn(minutes=1)
    assert site.receiver.told() == []
    await site.turn(minutes=6)
    assert site.receiver.told("before_s") == ["lease.ends_soon 120"]


async def open_incident(site: Site, lease_id: str, server_id: str) -> None:
    async with site.world.database.write() as session:
        session.add(
            Incident(
                server_id=server_id,
                lease_id=lease_id,
                kind="health",
                reason="GPU 3 has fallen off the bus",
                next_action="swap it",
                opened_at=site.world.clock(),
            )
        )


async def test_an_incident_of_its_servers_health_is_told_once(
    leased: tuple[Site, Reservation],
) -> None:
    site, reservation = leased
    (lease,) = await site.world.leases(reservation)
    await open_incident(site, lease.id, lease.server_id)
    await site.turn(seconds=2)
    await site.turn(seconds=2)
    assert site.receiver.told("reason") == [
        "lease.ready",
        "lease.incident GPU 3 has fallen off the bus",
    ]


async def test_a_message_is_signed_with_the_secret_that_was_shown(
    leased: tuple[Site, Reservation],
) -> None:
    site, _ = leased
    ((got, body),) = site.receiver.got
    at = site.world.clock().fromtimestamp(
        int(got["webhook-timestamp"]), tz=site.world.clock().tzinfo
    )
    expected = headers(site.secret, got["webhook-id"], at, body)
    assert {name: got[name] for name in expected} == expected


async def test_a_message_that_fails_is_tried_again_under_the_same_identifier(site: Site) -> None:
    await site.world.settle()
    site.receiver.answer = lambda: 503
    await site.world.reserve(hours=100)
    await site.world.settle()
    await site.sender.settle()
    (message,) = await site.messages()
    assert (message.attempts, message.error) == (1, "the receiver answered 503")
    site.receiver.answer = lambda: 204
    await site.turn(seconds=6)
    (message,) = await site.messages()
    assert (message.attempts, message.error, message.due_at) == (2, "", None)
    assert message.delivered_at is not None
    assert {got["webhook-id"] for got, _ in site.receiver.got} == {message.id}


async def test_a_message_is_given_up_after_a_day(site: Site) -> None:
    await site.world.settle()

    def refuse() -> int:
        raise NotDelivered("no connection")

    site.receiver.answer = refuse
    await site.world.reserve(hours=100)
    await site.world.settle()
    for _ in range(40):
        await site.turn(hours=1)
    message = (await site.messages())[0]
    assert (message.due_at, message.delivered_at, message.error) == (None, None, "no connection")
    assert 20 < message.attempts < 40


async def test_messages_are_forgotten_after_a_month(site: Site) -> None:
    await site.send_test()
    await site.turn(days=29)
    assert len(await site.messages()) == 1
    await site.turn(days=2)
    assert await site.messages() == []


async def test_a_test_is_tried_once(site: Site) -> None:
    site.receiver.answer = lambda: 500
    await site.send_test()
    await site.turn()
    (message,) = await site.messages()
    assert (message.attempts, message.due_at, message.error) == (
        1,
        None,
        "the receiver answered 500",
    )


async def test_a_name_that_leads_inside_by_now_is_not_posted_to(site: Site) -> None:
    site.receiver.addresses = [ip_address("8.8.8.8"), ip_address("10.0.0.1")]
    await site.send_test()
    await site.turn()
    (message,) = await site.messages()
    assert "not on the public Internet" in message.error
    assert site.receiver.got == []


async def test_a_server_of_ours_is_not_posted_to_in_whatever_network(site: Site) -> None:
    server = await site.world.server()
    async with site.world.database.write() as session:
        row = await session.get_one(type(server), server.id)
        row.bmc_address = "8.8.8.8"
    await site.send_test()
    await site.turn()
    assert site.receiver.got == []


async def test_messages_under_way_are_given_up_with_the_webhook(site: Site) -> None:
    await site.send_test()
    async with site.world.database.write() as session:
        await remove_webhook(session, actor=CUSTOMER, now=site.world.clock())
    await site.turn()
    (message,) = await site.messages()
    assert (message.due_at, message.error) == (None, "the webhook was removed")
    assert site.receiver.got == []


async def test_a_message_of_a_killed_process_is_sent_by_another(site: Site) -> None:
    await site.send_test()
    site.receiver.answer = killed
    sending = asyncio.create_task(site.sender.settle())
    await asyncio.gather(sending, return_exceptions=True)
    site.receiver.answer = lambda: 200
    await site.new_sender().settle()
    assert (await site.messages())[0].delivered_at is None, "it is claimed"
    site.world.clock.turn(seconds=CLAIM.total_seconds() + 1)
    await site.new_sender().settle()
    assert (await site.messages())[0].delivered_at is not None


async def test_a_message_that_meets_a_defect_is_given_up_in_the_end_and_stops_no_other(
    site: Site,
) -> None:
    async with site.world.database.write() as session:
        session.add(any_message(site))
        session.add(any_message(site))
    site.receiver.answer = first_a_defect(site.receiver)
    await site.turn()
    errors = sorted(message.error for message in await site.messages())
    assert errors == ["", "an internal error of the provisioner"]
    site.receiver.answer = defect
    for _ in range(40):
        await site.turn(hours=1)
    assert all(message.due_at is None for message in await site.messages())


async def test_what_cannot_be_enqueued_of_one_lease_keeps_no_other_from_being_told(
    leased: tuple[Site, Reservation], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, _ = leased
    (lease,) = await site.world.leases()
    await open_incident(site, lease.id, lease.server_id)
    enqueue = outbox.enqueue

    async def picky(session: Any, lease: Any, event: WebhookEvent, *rest: Any, **how: Any) -> None:
        if event is WebhookEvent.ENDS_SOON:
            raise ValueError("no such server")
        await enqueue(session, lease, event, *rest, **how)

    monkeypatch.setattr(outbox, "enqueue", picky)
    await site.turn(minutes=61)
    assert site.receiver.told() == ["lease.ready", "lease.incident"]
    assert site.sender.status.is_failing(lease.id)


def first_a_defect(receiver: Receiver) -> Answer:
    def answer() -> int:
        receiver.answer = lambda: 200
        return defect()

    return answer


def defect() -> int:
    raise ZeroDivisionError


def killed() -> int:
    raise asyncio.CancelledError


@pytest.fixture
async def shared(postgresql_database: Database, tmp_path: Path) -> Site:
    world = World(postgresql_database, tmp_path, servers=2)
    await world.enrol()
    site = Site(world)
    await site.set_webhook()
    return site


async def test_several_processes_send_each_message_once(shared: Site) -> None:
    await shared.world.settle()
    await shared.world.reserve(hours=1)
    await shared.world.reserve(hours=1)
    await shared.world.settle()
    async with shared.world.database.write() as session:
        for _ in range(30):
            session.add(any_message(shared))
    senders = [shared.new_sender() for _ in range(3)]
    shared.world.clock.turn(minutes=31)
    await asyncio.gather(*(sender.settle() for sender in senders))
    ids = [got["webhook-id"] for got, _ in shared.receiver.got]
    assert len(ids) == len(set(ids)) == 34
    assert shared.receiver.told("before_s").count("lease.ends_soon 1800") == 2


def any_message(site: Site) -> WebhookMessage:
    now = site.world.clock()
    return WebhookMessage(
        account_id=CUSTOMER.account_id,
        subject=new_id("x"),
        event="lease.ready",
        body={"type": "lease.ready", "data": {}},
        created_at=now,
        due_at=now,
    )
