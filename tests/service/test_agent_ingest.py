"""Reports are taken into memory and written together; changes show from the next turn on."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from service_factories import Factory

from agent.protocol import Report
from provisioner.domain.lifecycle import State
from provisioner.lifecycle.identities import revoke_identities
from provisioner.rental.leases import set_end
from provisioner.service.agents import ingest as ingest_module
from provisioner.service.agents.ingest import INGEST, Ingest
from provisioner.store.database import Database, DatabaseUnavailable
from provisioner.store.secrets import token_hash
from provisioner.store.tables import Lease

GPU = {"index": 0, "uuid": "GPU-1", "temperature_c": 41}


def report_of(server, uptime_s, context="tenant", **changes):
    return {
        "server": server.id,
        "context": context,
        "boot_id": "b-1",
        "sequence": 1,
        "uptime_s": uptime_s,
        "agent_version": "0.1.0",
        "hostname": "box",
        "lease": None,
        "echo": "nonce",
        **changes,
    }


def health(**gpu):
    return {"state": "ok", "gpus": [{**GPU, **gpu}]}


@pytest.fixture
def send(anybody):
    async def post(token, report):
        return await anybody.post(
            "/agents/report", json=report, headers={"Authorization": f"Bearer {token}"}
        )

    return post


@pytest.fixture
def ingest(anybody) -> Ingest:
    return anybody.server.app[INGEST]


@pytest.fixture
async def tenant(make):
    """A leased server with its tenant's agent: (server, lease, identity, token)."""
    await make.server_class()
    server = await make.server(1, State.LEASED)
    account, _ = await make.account("Ada")
    lease = await make.lease(server, account, lasts=timedelta(hours=1))
    identity, token = await make.agent(server, lease=lease)
    return server, lease, identity, token


async def end_in(answer) -> float:
    grant = json.loads((await answer.json())["grant"]["grant"])
    return grant["not_after"] - grant["issued_at"]


async def test_reports_are_written_together_the_last_of_each_agent(
    make, send, ingest, clock, monkeypatch
):
    await make.server_class()
    agents = []
    for number in (1, 2, 3):
        server = await make.server(number)
        agents.append((server, *await make.agent(server)))
    for uptime_s in (10, 20):
        for server, _, token in agents:
            said = report_of(server, uptime_s, "ramdisk", health=health(temperature_c=uptime_s))
            assert (await send(token, said)).status == 200
        clock.turn(seconds=10)
    writes = []
    write = make.services.database.write
    monkeypatch.setattr(Database, "write", lambda _: writes.append(1) or write())
    await ingest.flush()
    assert len(writes) <= 1  # none, if the second was up and it was done already
    for _, identity, _ in agents:
        row = await make.get(identity)
        assert row.seen_at == row.reported_at == clock() - timedelta(seconds=10)
        assert row.report["health"]["gpus"][0]["temperature_c"] == 20


async def test_a_report_without_health_keeps_the_one_with_it(make, send, ingest, tenant, clock):
    server, _, identity, token = tenant
    await send(token, report_of(server, 1, health=health()))
    clock.turn(seconds=10)
    await send(token, report_of(server, 11))
    await ingest.flush()
    row = await make.get(identity)
    assert row.report["health"]["gpus"] == [GPU]
    assert (row.seen_at, row.reported_at) == (clock(), clock() - timedelta(seconds=10))


async def test_health_of_an_earlier_boot_does_not_stay(make, send, ingest, tenant):
    server, _, identity, token = tenant
    await send(token, report_of(server, 100, health=health()))
    await send(token, report_of(server, 5, boot_id="b-2"))
    await ingest.flush()
    row = await make.get(identity)
    assert (row.report["boot_id"], row.report["health"]) == ("b-2", None)


@pytest.mark.parametrize("uptime_s", [60, 100])
async def test_a_report_that_came_already_or_late_changes_nothing(
    make, send, ingest, tenant, uptime_s
):
    server, _, identity, token = tenant
    await send(token, report_of(server, 100, health=health()))
    make.services.clock.turn(seconds=10)
    late = report_of(server, uptime_s, health=health(temperature_c=90), hostname="late")
    assert (await send(token, late)).status == 200
    await ingest.flush()
    row = await make.get(identity)
    assert row.seen_at == make.services.clock() - timedelta(seconds=10)
    assert row.report["hostname"] == "box"


async def test_a_late_report_is_known_after_a_restart(send, tenant, services):
    server, _, _, token = tenant
    await send(token, report_of(server, 100, health=health()))
    restarted = Ingest(services.database, services.clock)
    await restarted.settle()
    (link,) = restarted.links._links.values()
    assert (link.boot_id, link.uptime_s, link.seen) == ("b-1", 100, True)


async def test_a_revoked_identity_is_refused_from_the_next_turn_on(send, ingest, tenant, services):
    server, _, _, token = tenant
    assert (await send(token, report_of(server, 1))).status == 200
    async with services.database.write() as session:
        await revoke_identities(session, server.id, now=services.clock())
    await ingest.settle()
    assert (await send(token, report_of(server, 2))).status == 401


async def test_a_lease_that_is_extended_or_released_is_answered_from_the_next_turn_on(
    send, ingest, tenant, clock, services
):
    server, lease, _, token = tenant
    assert await end_in(await send(token, report_of(server, 1))) == 3600
    for number, lasts in enumerate((timedelta(hours=5), timedelta(0)), start=2):
        async with services.database.write() as session:
            set_end(await session.get_one(Lease, lease.id), clock() + lasts, clock())
        await ingest.settle()
        answer = await send(token, report_of(server, number))
        assert await end_in(answer) == lasts.total_seconds()


async def test_during_an_outage_reports_wait_for_the_next_turn(
    make, send, ingest, tenant, monkeypatch
):
    server, _, identity, token = tenant
    await send(token, report_of(server, 1))
    make.services.clock.turn(seconds=10)

    def away(_):
        raise DatabaseUnavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", away)
        await send(token, report_of(server, 11, health=health()))
        with pytest.raises(DatabaseUnavailable):
            await ingest.flush()
        await send(token, report_of(server, 12))
    await ingest.flush()
    row = await make.get(identity)
    assert (row.seen_at, row.report["uptime_s"]) == (make.services.clock(), 11)


async def test_what_was_taken_is_written_when_the_service_stops(anybody, make, send, tenant, clock):
    server, _, identity, token = tenant
    await send(token, report_of(server, 1))
    clock.turn(seconds=10)
    await send(token, report_of(server, 11, health=health()))
    await anybody.server.close()
    row = await make.get(identity)
    assert (row.seen_at, row.report["health"]["gpus"]) == (clock(), [GPU])


async def test_batches_are_written_on_either_database(any_database, services, clock):
    make = Factory(replace(services, database=any_database))
    await make.server_class()
    server = await make.server(1)
    identity, _ = await make.agent(server)
    for uptime_s, told in ((1, health()), (11, None)):
        clock.turn(seconds=10)
        ingest = Ingest(any_database, clock)
        await ingest.settle()
        (link,) = ingest.links._links.values()
        said = Report.from_dict(report_of(server, uptime_s, "ramdisk", health=told))
        await ingest.take(link, said)
        await ingest.settle()
    row = await make.get(identity)
    assert (row.seen_at, row.reported_at) == (clock(), clock() - timedelta(seconds=10))
    assert row.report["health"]["gpus"] == [GPU]


async def test_a_report_that_cannot_be_written_keeps_no_other_from_being_written(
    make, send, ingest, monkeypatch
):
    await make.server_class()
    agents = [(server := await make.server(n), *await make.agent(server)) for n in (1, 2, 3)]
    for server, _, token in agents:
        await send(token, report_of(server, 1, "ramdisk", health=health()))
    bad = agents[0][1]
    write = ingest_module._write

    async def picky(session, batch):
        if bad.id in batch:
            raise ValueError("the database takes no such report")
        await write(session, batch)

    monkeypatch.setattr(ingest_module, "_write", picky)
    await ingest.flush()
    reports = [(await make.get(identity)).report for _, identity, _ in agents]
    assert [bool(report) for report in reports] == [False, True, True]
    assert ingest.status.is_failing(bad.id)
    assert not ingest._waiting, "it is not tried again: the next report is"


async def test_a_row_that_cannot_be_loaded_blinds_its_own_agent_alone(
    postgresql_database, services, clock
):
    """PostgreSQL reads no text with a NUL out of JSON; a tenant could once send one."""
    make = Factory(replace(services, database=postgresql_database))
    await make.server_class()
    tokens = []
    for number, boot_id in ((1, r"b\u0000d"), (2, "good")):
        identity, token = await make.agent(await make.server(number))
        report = f'{{"boot_id": "{boot_id}", "uptime_s": 1.0}}'
        async with postgresql_database.write() as session:
            await (await session.connection()).exec_driver_sql(
                f"UPDATE agent_identity SET report = '{report}' WHERE id = '{identity.id}'"
            )
        tokens.append(token)
    ingest = Ingest(postgresql_database, clock)
    await ingest.settle()
    assert (await ingest.links.find(token_hash(tokens[0]))).boot_id == "b\0d"
    link = await ingest.links.find(token_hash(tokens[1]))
    assert link.boot_id == "good"
    async with postgresql_database.write() as session:
        await revoke_identities(session, link.server_id, now=clock())
    await ingest.settle()
    assert await ingest.links.find(token_hash(tokens[1])) is None
