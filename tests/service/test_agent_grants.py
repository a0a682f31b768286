"""The agents' link: grants that agents wait for, and leases given back from their own machines."""

import asyncio
import base64
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from provisioner.domain.access import PROVISIONER
from provisioner.domain.lifecycle import State
from provisioner.rental.extension import extend
from provisioner.rental.grants import public_key
from provisioner.service.agents.links import Links
from provisioner.store.secrets import SecretBox, token_hash
from provisioner.store.tables import Lease


@pytest.fixture
async def tenant(make):
    """A leased server with its tenant's agent: (server, lease, token)."""
    await make.server_class()
    server = await make.server(1, State.LEASED)
    account, _ = await make.account("Ada")
    lease = await make.lease(server, account, lasts=timedelta(hours=1))
    _, token = await make.agent(server, lease=lease)
    return server, lease, token


def ask(client, token, after, echo="nonce"):
    return client.get(
        "/agents/grant",
        params={"after": after, "echo": echo},
        headers={"Authorization": f"Bearer {token}"},
    )


def checked(services, signed):
    """The grant, after its signature was checked with the key that agents are given."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key(services.secret_box)))
    key.verify(base64.b64decode(signed["signature"]), signed["grant"].encode())
    return json.loads(signed["grant"])


async def test_a_newer_grant_is_answered_at_once_and_signed(anybody, tenant, services, clock, make):
    server, lease, token = tenant
    clock.turn(minutes=10)
    answer = await ask(anybody, token, after=0)
    assert answer.status == 200
    assert checked(services, await answer.json()) == {
        "lease": lease.id,
        "server": server.id,
        "serial": server.serial,
        "not_before": lease.bound_at.timestamp(),
        "not_after": lease.ends_at.timestamp(),
        "issued_at": clock().timestamp(),
        "sequence": 1,
        "echo": "nonce",
    }


async def test_who_waits_hears_of_an_extension(anybody, tenant, services, clock):
    _, lease, token = tenant
    waiting = asyncio.ensure_future(ask(anybody, token, after=1))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    async with services.database.write() as session:
        await extend(
            session,
            lease.reservation_id,
            by=timedelta(minutes=30),
            actor=PROVISIONER,
            now=clock(),
        )
    answer = await asyncio.wait_for(waiting, 30)
    granted = checked(services, await answer.json())
    assert granted["sequence"] == 2
    assert granted["not_after"] == (lease.ends_at + timedelta(minutes=30)).timestamp()


async def test_a_change_is_seen_however_long_the_database_was_away(tenant, services, clock):
    _, lease, token = tenant
    links = Links(services.database)
    link = await links.find(token_hash(token))
    await links.refresh()
    async with services.database.write() as session:
        await extend(
            session,
            lease.reservation_id,
            by=timedelta(minutes=30),
            actor=PROVISIONER,
            now=clock(),
        )
    clock.turn(minutes=10)
    await links.refresh()
    assert link.lease.sequence == 2


async def test_who_waits_in_vain_is_answered_without_a_grant(anybody, tenant, monkeypatch):
    monkeypatch.setattr("provisioner.service.agents.grants.PATIENCE_S", 0.05)
    answer = await ask(anybody, tenant[2], after=1)
    assert (answer.status, await answer.read()) == (204, b"")


async def test_a_lease_is_released_from_its_own_machine(anybody, tenant, make, clock):
    server, lease, token = tenant
    clock.turn(minutes=10)
    for _ in range(2):
        answer = await anybody.post(
            "/agents/release", json={}, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status == 204
    ended: Lease = await make.get(lease)
    assert (ended.ends_at, ended.end_reason, ended.sequence) == (clock(), "released", 2)
    assert (await make.get(server)).attention >= 1


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/agents/grant"), ("POST", "/agents/release")]
)
async def test_only_a_tenants_agent_has_a_lease(anybody, make, method, path):
    await make.server_class()
    server = await make.server(1, State.INSPECTING)
    boot, _ = await make.boot(server, await make.operation(server))
    _, token = await make.agent(server, boot=boot)
    for authorization, status in ((f"Bearer {token}", 403), ("Bearer unknown", 401)):
        answer = await anybody.request(
            method, path, params={"after": 0}, headers={"Authorization": authorization}
        )
        assert answer.status == status


async def test_a_wait_without_a_sequence_is_refused(anybody, tenant):
    answer = await ask(anybody, tenant[2], after="newest")
    assert (answer.status, (await answer.json())["code"]) == (400, "bad_request")


def test_all_processes_of_a_site_sign_alike_and_sites_do_not(tmp_path):
    ours = [SecretBox.from_file(tmp_path / "ours") for _ in range(2)]
    theirs = SecretBox.from_file(tmp_path / "theirs")
    assert public_key(ours[0]) == public_key(ours[1]) != public_key(theirs)
