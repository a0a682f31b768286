"""The agents' link: reports are kept, terms are answered, facts wake the reconciler."""

import itertools
import json
from datetime import timedelta

import pytest

from provisioner.domain.lifecycle import State

_UPTIME = itertools.count(12.5)


def report_of(server, context="tenant", **changes):
    """The next report: each is of a later time."""
    return {
        "server": server.id,
        "context": context,
        "boot_id": "b-1",
        "sequence": 1,
        "uptime_s": next(_UPTIME),
        "agent_version": "0.1.0",
        "hostname": "box",
        "lease": None,
        **changes,
    }


async def send(client, token, report):
    return await client.post(
        "/agents/report", json=report, headers={"Authorization": f"Bearer {token}"}
    )


@pytest.fixture
async def tenant(make):
    """A leased server with its tenant's agent: (server, lease, identity, token)."""
    await make.server_class()
    server = await make.server(1, State.LEASED)
    account, _ = await make.account("Ada")
    lease = await make.lease(server, account, lasts=timedelta(hours=1))
    identity, token = await make.agent(server, lease=lease)
    return server, lease, identity, token


async def test_a_report_is_kept_and_answered_with_the_time_left(anybody, make, tenant, clock):
    server, lease, identity, token = tenant
    clock.turn(minutes=20)
    answer = await send(anybody, token, report_of(server, echo="nonce"))
    assert answer.status == 200
    said = await answer.json()
    assert said["interval_s"] == 10.0
    grant = json.loads(said["grant"]["grant"])
    assert (grant["lease"], grant["not_after"] - grant["issued_at"]) == (lease.id, 2400.0)
    row = await make.get(identity)
    assert row.seen_at == clock()
    assert row.report["hostname"] == "box"
    without_nonce = await send(anybody, token, report_of(server))
    assert (await without_nonce.json())["grant"] is None


async def test_the_first_report_of_a_tenant_calls_attention_later_ones_do_not(
    anybody, make, tenant
):
    server, _, _, token = tenant
    for _ in range(3):
        await send(anybody, token, report_of(server))
    assert (await make.get(server)).attention == 1


async def test_a_lock_is_noted_once_and_calls_attention(anybody, make, tenant, clock):
    server, lease, _, token = tenant
    await send(anybody, token, report_of(server))
    clock.turn(hours=1)
    held = {"id": lease.id, "remaining_s": 0, "locked": True}
    for _ in range(2):
        await send(anybody, token, report_of(server, lease=held))
        clock.turn(seconds=10)
    assert (await make.get(lease)).locked_at == clock() - timedelta(seconds=20)
    assert (await make.get(server)).attention == 2


async def test_a_lock_of_another_lease_says_nothing(anybody, make, tenant):
    server, lease, _, token = tenant
    held = {"id": "lse_other", "remaining_s": 0, "locked": True}
    await send(anybody, token, report_of(server, lease=held))
    assert (await make.get(lease)).locked_at is None


async def test_a_revoked_identity_is_refused(anybody, make, tenant, services, clock):
    server, _, identity, token = tenant
    async with services.database.write() as session:
        (await session.get_one(type(identity), identity.id)).revoked_at = clock()
    answer = await send(anybody, token, report_of(server))
    assert answer.status == 401
    assert (await make.get(identity)).seen_at is None


async def test_an_identity_speaks_for_its_own_server_and_context(anybody, make, tenant):
    server, _, identity, token = tenant
    other = await make.server(2)
    for report in (report_of(other), report_of(server, "ramdisk")):
        answer = await send(anybody, token, report)
        assert (answer.status, (await answer.json())["code"]) == (403, "other_agent")
    assert (await make.get(identity)).seen_at is None


async def test_a_ramdisks_agent_has_no_lease(anybody, make):
    await make.server_class()
    server = await make.server(1, State.INSPECTING)
    boot, _ = await make.boot(server, await make.operation(server))
    _, token = await make.agent(server, boot=boot)
    answer = await send(anybody, token, report_of(server, "ramdisk"))
    assert (await answer.json())["grant"] is None


@pytest.mark.parametrize(
    "changes",
    [{"sequence": 0}, {"uptime_s": -1}, {"context": "moon"}, {"lease": 7}],
)
async def test_a_report_that_is_none_is_refused(anybody, tenant, changes):
    server, _, _, token = tenant
    answer = await send(anybody, token, report_of(server, **changes))
    assert (answer.status, (await answer.json())["code"]) == (400, "bad_message")
