"""Reservations over the API: made once, seen by their owner only, given back."""

import asyncio
import json
from datetime import timedelta

import pytest
from service_factories import public_key
from sqlmodel import select

from provisioner.domain.lifecycle import State, Step, StepOutcome, Verb
from provisioner.domain.reservations import ReservationState
from provisioner.store.tables import AuditEvent, Lease, Reservation

BODY = {"class": "lab-2nvme", "image": "debian-12", "duration_s": 7200, "ssh_keys": ["laptop"]}


async def add_key(client, name="laptop"):
    answer = await client.post("/v1/ssh-keys", json={"name": name, "public_key": public_key()})
    assert answer.status == 201, await answer.text()
    return await answer.json()


async def reserve(client, **changes):
    headers = changes.pop("headers", {})
    answer = await client.post("/v1/reservations", json={**BODY, **changes}, headers=headers)
    return answer.status, await answer.json()


async def test_reserving_binds_a_free_server(customer, make):
    (server,) = await make.stock()
    await add_key(customer)
    status, reservation = await reserve(customer, hostname="Box.Example", user_data="#!/bin/sh\n")
    assert status == 201
    assert reservation["class"] == "lab-2nvme"
    assert reservation["hostname"] == "box.example"
    assert reservation["lease"]["server"] == server.name
    assert reservation["lease"]["state"] == "preparing"
    assert reservation["lease"]["ssh_command"] == ""
    row = await make.get(server)
    assert row.attention == 1


async def test_a_second_reservation_is_refused_while_the_only_server_is_taken(customer, make):
    await make.stock()
    await add_key(customer)
    await reserve(customer)
    status, problem = await reserve(customer)
    assert (status, problem["code"]) == (409, "no_capacity")
    assert problem["next_action"]
    assert problem["type"] == "urn:ironlease:problem:no_capacity"


async def test_the_same_idempotency_key_makes_one_reservation(customer, make):
    await make.stock(2)
    await add_key(customer)
    headers = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(*(reserve(customer, headers=headers) for _ in range(4)))
    assert {status for status, _ in answers} == {201}
    assert len({reservation["id"] for _, reservation in answers}) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"duration_s": 60},
        {"hostname": "another"},
        {"user_data": "#!/bin/sh"},
        {"ssh_keys": ["laptop", "laptop"]},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_an_idempotency_key_is_of_one_request(customer, make, other):
    await make.stock(2)
    await add_key(customer)
    headers = {"Idempotency-Key": "once"}
    await reserve(customer, headers=headers)
    status, problem = await reserve(customer, headers=headers, **other)
    assert (status, problem["code"]) == (409, "idempotency_mismatch")


async def test_a_request_is_the_same_after_its_reservation_was_changed(customer, make):
    await make.stock(2)
    await add_key(customer)
    headers = {"Idempotency-Key": "once"}
    _, first = await reserve(customer, headers=headers)
    extended = await customer.post(f"/v1/reservations/{first['id']}/extend", json={"by_s": 3600})
    assert extended.status == 200
    status, again = await reserve(customer, headers=headers)
    assert (status, again["id"]) == (201, first["id"])


async def test_a_request_is_the_same_after_its_key_was_deleted(customer, make):
    await make.stock(2)
    key = await add_key(customer)
    headers = {"Idempotency-Key": "once"}
    _, first = await reserve(customer, headers=headers)
    assert (await customer.delete(f"/v1/ssh-keys/{key['id']}")).status == 204
    status, again = await reserve(customer, headers=headers)
    assert (status, again["id"]) == (201, first["id"])


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"class": "none"}, "unknown_class", "/class"),
        ({"image": "none"}, "unknown_image", "/image"),
        ({"duration_s": 0}, "bad_duration", "/duration_s"),
        ({"duration_s": 10**18}, "bad_duration", "/duration_s"),
        ({"duration_s": "7200"}, "invalid_request", "/duration_s"),
        ({"ssh_keys": []}, "no_keys", "/ssh_keys"),
        ({"ssh_keys": ["none"]}, "unknown_key", "/ssh_keys/0"),
        ({"hostname": "-x"}, "bad_hostname", "/hostname"),
        ({"hostname": "a b"}, "bad_hostname", "/hostname"),
        ({"user_data": "ä" * 40_000}, "bad_user_data", "/user_data"),
        ({"user_data": "a\0b"}, "invalid_request", "/user_data"),
        ({"account": "\0"}, "invalid_request", "/account"),
        ({"ssh_keys": ["laptop", "\0"]}, "invalid_request", "/ssh_keys/1"),
        ({"surprise": 1}, "invalid_request", "/surprise"),
    ],
)
async def test_a_wrong_request_names_the_place(customer, make, changes, code, pointer):
    await make.stock()
    await add_key(customer)
    status, problem = await reserve(customer, **changes)
    assert (status, problem["code"]) == (422, code)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_literal_keys_are_for_operators_on_behalf(customer, operator, make):
    await make.stock(2)
    ada, _ = await make.account("Ada")
    line = public_key()
    status, problem = await reserve(customer, ssh_keys=[line])
    assert (status, problem["code"]) == (422, "unknown_key")
    status, problem = await reserve(customer, ssh_keys=[line], account=ada.email)
    assert (status, problem["code"]) == (403, "forbidden")
    status, reservation = await reserve(operator, ssh_keys=[line], account="Ada@example.com")
    assert status == 201
    assert reservation["account"] == ada.id
    status, problem = await reserve(operator, ssh_keys=["ssh-ed25519 AAAA"], account=ada.id)
    assert (status, problem["errors"][0]["pointer"]) == (422, "/ssh_keys/0")


async def test_release_ends_the_lease_once(customer, make, services, clock):
    await make.stock()
    await add_key(customer)
    _, reservation = await reserve(customer)
    path = f"/v1/reservations/{reservation['id']}/release"
    clock.turn(minutes=5)
    first = await (await customer.post(path)).json()
    clock.turn(minutes=5)
    again = await (await customer.post(path)).json()
    assert first["lease"]["state"] == "ending"
    assert first["lease"]["ends_at"] == again["lease"]["ends_at"] == first["released_at"]
    async with services.database.read() as session:
        actions = (await session.exec(select(AuditEvent.action))).all()
    assert {"ssh_key.add", "reservation.create"} <= set(actions)
    assert actions.count("reservation.release") == 1, "twice is once, in the audit trail too"


async def test_a_ready_lease_tells_how_to_log_in(customer, make, services):
    (server,) = await make.stock()
    await add_key(customer)
    _, reservation = await reserve(customer)
    async with services.database.write() as session:
        lease = (await session.exec(select(Lease))).one()
        lease.ready_at = services.clock()
        lease.host_key = "ssh-ed25519 AAAAhost"
    operation = await make.operation(
        server, Verb.IMAGE, Step.HAND_OVER, lease_id=lease.id, ended_at=services.clock()
    )
    await make.step(operation, Step.FIND_RAMDISK, 0.1, StepOutcome.SKIPPED)
    await make.step(operation, Step.AWAIT_RAMDISK, 360, StepOutcome.BACK)
    await make.step(operation, Step.WRITE_IMAGE, 8.5)
    shown = await (await customer.get(f"/v1/reservations/{reservation['id']}")).json()
    lease = shown["lease"]
    assert lease["state"] == "ready"
    assert lease["ssh_command"] == "ssh root@10.77.0.11"
    assert lease["known_hosts"] == "10.77.0.11 ssh-ed25519 AAAAhost"
    phases = [(p["step"], p["seconds"]) for p in lease["phases"]]
    assert phases == [("await_ramdisk", 360), ("write_image", 8.5)], "the time of a failed boot"


async def test_events_follow_a_reservation_to_its_end(customer, make, services):
    await make.stock()
    await add_key(customer)
    _, reservation = await reserve(customer)
    stream = await customer.get(f"/v1/reservations/{reservation['id']}/events")
    assert stream.content_type == "text/event-stream"
    seen = []
    async for raw in stream.content:
        line = raw.decode().strip()
        if not line.startswith("data: "):
            continue
        seen.append(json.loads(line[6:]))
        async with services.database.write() as session:
            lease = (await session.exec(select(Lease))).one()
            if len(seen) == 1:
                lease.ready_at = services.clock()
            elif len(seen) == 2:
                row = (await session.exec(select(Reservation))).one()
                row.state = ReservationState.ENDED
                lease.ended_at = services.clock()
    assert [event["lease"]["state"] for event in seen] == ["preparing", "ready", "ended"]


async def test_certificates_frame_the_lease(customer, make, services, clock):
    (server,) = await make.stock()
    wipe = await make.operation(server, Verb.SANITISE, Step.SANITISE_DISKS, ended_at=clock())
    before = await make.certificate(server, wipe, "IL01-A", clock())
    await add_key(customer)
    clock.turn(minutes=1)
    _, reservation = await reserve(customer)
    clock.turn(hours=2)
    async with services.database.write() as session:
        lease = (await session.exec(select(Lease))).one()
        lease.certificates = [before.id]
        lease.ended_at = clock()
    clock.turn(minutes=1)
    after = await make.certificate(server, wipe, "IL01-A", clock())
    ada, _ = await make.account("Ada")
    clock.turn(minutes=1)
    await make.lease(server, ada)
    clock.turn(hours=3)
    await make.certificate(server, wipe, "IL01-A", clock())
    answer = await customer.get(f"/v1/reservations/{reservation['id']}/certificates")
    items = (await answer.json())["items"]
    assert [(c["occasion"], c["id"]) for c in items] == [("before", before.id), ("after", after.id)]


async def test_lists_come_in_pages(customer, make):
    await make.stock(3)
    await add_key(customer)
    made = [(await reserve(customer))[1]["id"] for _ in range(3)]
    first = await (await customer.get("/v1/reservations?limit=2")).json()
    rest = await (
        await customer.get("/v1/reservations", params={"limit": 2, "cursor": first["next"]})
    ).json()
    assert [r["id"] for r in first["items"] + rest["items"]] == made[::-1]
    assert rest["next"] is None


async def test_a_class_shows_its_price_and_what_is_free(customer, make):
    await make.stock(2)
    await make.server(9, State.QUARANTINED)
    classes = (await (await customer.get("/v1/classes")).json())["items"]
    assert classes == [
        {
            "name": "lab-2nvme",
            "title": "Virtual server, 2 x NVMe",
            "price_per_hour": "1.20",
            "currency": "EUR",
            "free": 2,
        }
    ]
    await make.lease(
        await make.server(10), (await make.account("Eve"))[0], lasts=timedelta(hours=1)
    )
    classes = (await (await customer.get("/v1/classes")).json())["items"]
    assert classes[0]["free"] == 2
