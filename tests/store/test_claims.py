"""Claims: one worker per server, takeover after expiry, and stale results discarded."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import col, select

from provisioner.store.claims import Claim, ClaimLost, claim_due, hold, release, renew
from provisioner.store.database import Database, call_attention
from provisioner.store.tables import Server, ServerClass

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TTL = timedelta(seconds=30)


async def add_server(database: Database, number: int = 1) -> str:
    async with database.write() as session:
        if await session.get(ServerClass, "c") is None:
            session.add(ServerClass(name="c", title="C", price_micro_per_hour=1, currency="EUR"))
            await session.flush()
        server = Server(
            name=f"s{number}",
            site="here",
            rack="r",
            class_name="c",
            serial=f"SN{number}",
            boot_mac=f"52:54:00:00:00:{number:02x}",
            address=f"10.0.0.{number}",
            bmc_protocol="ipmi",
            bmc_address=f"10.1.0.{number}",
            bmc_port=623,
            bmc_username="admin",
            bmc_secret="",
        )
        session.add(server)
        return server.id


async def take(
    database: Database, owner: str, now: datetime = NOW, limit: int = 10, site: str = ""
) -> list[Claim]:
    return await claim_due(database, owner=owner, now=now, ttl=TTL, limit=limit, site=site)


async def row(database: Database, server_id: str) -> Server:
    async with database.read() as session:
        return (await session.exec(select(Server).where(col(Server.id) == server_id))).one()


async def test_a_due_server_is_claimed_by_one_worker_only(any_database: Database) -> None:
    await add_server(any_database)
    first = await take(any_database, "one")
    second = await take(any_database, "two")
    assert len(first) == 1
    assert second == []


async def test_workers_that_claim_at_the_same_time_share_the_servers(
    any_database: Database,
) -> None:
    servers = {await add_server(any_database, n) for n in range(1, 9)}
    batches = await asyncio.gather(*(take(any_database, f"w{n}") for n in range(4)))
    claimed = [claim.server_id for batch in batches for claim in batch]
    assert sorted(claimed) == sorted(servers)


async def test_a_claim_that_expired_is_taken_over(any_database: Database) -> None:
    await add_server(any_database)
    await take(any_database, "dead")
    (taken,) = await take(any_database, "alive", now=NOW + TTL)
    assert (await row(any_database, taken.server_id)).claim_owner == "alive"


async def test_a_renewed_claim_is_not_taken_over(any_database: Database) -> None:
    await add_server(any_database)
    (claim,) = await take(any_database, "slow")
    await renew(any_database, claim, now=NOW + TTL / 2, ttl=TTL)
    assert await take(any_database, "other", now=NOW + TTL) == []


async def test_a_stale_claims_result_is_discarded(any_database: Database) -> None:
    server_id = await add_server(any_database)
    (stale,) = await take(any_database, "frozen")
    await take(any_database, "successor", now=NOW + TTL)
    with pytest.raises(ClaimLost):
        async with any_database.write() as session:
            server = await hold(session, stale)
            server.reason = "written by the frozen one"
    assert (await row(any_database, server_id)).reason == ""


async def test_a_stale_claim_cannot_be_renewed(any_database: Database) -> None:
    await add_server(any_database)
    (stale,) = await take(any_database, "frozen")
    await take(any_database, "successor", now=NOW + TTL)
    with pytest.raises(ClaimLost):
        await renew(any_database, stale, now=NOW + TTL, ttl=TTL)


async def test_releasing_a_stale_claim_leaves_the_successors_alone(
    any_database: Database,
) -> None:
    await add_server(any_database)
    (stale,) = await take(any_database, "frozen")
    (current,) = await take(any_database, "successor", now=NOW + TTL)
    await release(any_database, stale, due_at=None)
    assert (await row(any_database, current.server_id)).claim_token == current.token


async def test_a_released_server_is_due_again_when_it_was_said(any_database: Database) -> None:
    await add_server(any_database)
    (claim,) = await take(any_database, "one")
    await release(any_database, claim, due_at=NOW + timedelta(minutes=5))
    assert await take(any_database, "one", now=NOW + timedelta(minutes=4)) == []
    assert len(await take(any_database, "one", now=NOW + timedelta(minutes=5))) == 1


async def test_a_fact_that_arrives_during_the_work_is_not_missed(any_database: Database) -> None:
    server_id = await add_server(any_database)
    (claim,) = await take(any_database, "one")
    async with any_database.write() as session:
        await call_attention(session, server_id)
    await release(any_database, claim, due_at=None)
    assert len(await take(any_database, "one")) == 1


async def test_a_claim_does_not_block_readers_or_facts(any_database: Database) -> None:
    server_id = await add_server(any_database)
    await take(any_database, "one")
    async with any_database.write() as session:
        await call_attention(session, server_id)
    assert (await row(any_database, server_id)).attention == 1


async def test_servers_of_other_sites_are_left_alone(any_database: Database) -> None:
    await add_server(any_database)
    assert await take(any_database, "elsewhere", site="there") == []
    assert len(await take(any_database, "here", site="here")) == 1
