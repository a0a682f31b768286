"""Claims, as on servers: one worker per row, takeover after expiry, and stale results discarded."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import col, select

from provisioner.store.claims import Claim, ClaimLost, Claims, hold
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


def claims_of(database: Database, owner: str = "test", ttl: timedelta = TTL) -> Claims[Server]:
    return Claims(database, Server, ttl=ttl, owner=owner)


async def take(
    database: Database, owner: str, now: datetime = NOW, limit: int = 10
) -> list[Claim[Server]]:
    return await claims_of(database, owner).claim_due(now, limit)


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
    claimed = [claim.row_id for batch in batches for claim in batch]
    assert sorted(claimed) == sorted(servers)


async def test_a_claim_that_expired_is_taken_over(any_database: Database) -> None:
    await add_server(any_database)
    await take(any_database, "dead")
    (taken,) = await take(any_database, "alive", now=NOW + TTL)
    assert (await row(any_database, taken.row_id)).claim_owner == "alive"


async def test_claims_that_are_held_are_renewed_together_and_not_taken_over(
    any_database: Database,
) -> None:
    servers = {await add_server(any_database, n) for n in range(1, 4)}
    claims = claims_of(any_database, "slow", ttl=TTL)
    async with AsyncExitStack() as stack:
        for claim in await claims.claim_due(NOW, 10):
            await stack.enter_async_context(claims.held(claim))
        a_third_has_passed(claims)
        await claims.renew(NOW + TTL / 2)
        assert await take(any_database, "other", now=NOW + TTL) == []
    assert {(await row(any_database, server)).claim_expires_at for server in servers} == {
        NOW + TTL / 2 + TTL
    }


async def test_a_claim_that_nobody_works_under_is_not_renewed(any_database: Database) -> None:
    """Its work ended with a defect: it is to expire."""
    await add_server(any_database)
    await add_server(any_database, 2)
    claims = claims_of(any_database)
    held, left = await claims.claim_due(NOW, 10)
    async with claims.held(held):
        a_third_has_passed(claims)
        await claims.renew(NOW + TTL / 2)
        (taken,) = await take(any_database, "other", now=NOW + TTL)
    assert taken.row_id == left.row_id


async def test_work_under_a_claim_that_was_taken_over_ends_with_the_next_renewal(
    any_database: Database,
) -> None:
    await add_server(any_database)
    claims = claims_of(any_database, "frozen")
    (stale,) = await claims.claim_due(NOW, 1)
    working = asyncio.create_task(_work_forever(claims, stale))
    await asyncio.sleep(0)
    await take(any_database, "successor", now=NOW + TTL)
    a_third_has_passed(claims)
    await claims.renew(NOW + TTL)
    with pytest.raises(ClaimLost):
        await asyncio.wait_for(working, 60)
    assert (await row(any_database, stale.row_id)).claim_owner == "successor"


async def test_work_under_a_claim_that_cannot_be_renewed_ends_when_the_claim_expires(
    any_database: Database,
) -> None:
    await add_server(any_database)
    claims = claims_of(any_database, ttl=timedelta(seconds=0.05))
    (claim,) = await claims.claim_due(NOW, 1)
    with pytest.raises(ClaimLost):
        await asyncio.wait_for(_work_forever(claims, claim), 60)


async def test_a_time_limit_within_the_work_is_not_taken_for_a_lost_claim(
    any_database: Database,
) -> None:
    await add_server(any_database)
    claims = claims_of(any_database)
    (claim,) = await claims.claim_due(NOW, 1)
    with pytest.raises(TimeoutError):
        async with claims.held(claim):
            raise TimeoutError


async def test_a_claim_on_a_locked_row_is_kept_and_renewed_later(
    postgresql_database: Database,
) -> None:
    """To wait for it would be a deadlock with a transaction that wants another of the rows."""
    await add_server(postgresql_database)
    claims = claims_of(postgresql_database)
    (claim,) = await claims.claim_due(NOW, 1)
    async with claims.held(claim):
        a_third_has_passed(claims)
        async with postgresql_database.write() as session:
            await hold(session, claim)
            await claims.renew(NOW + TTL / 2)
        assert (await row(postgresql_database, claim.row_id)).claim_expires_at == NOW + TTL
        await claims.renew(NOW + TTL / 2)
    assert (await row(postgresql_database, claim.row_id)).claim_expires_at == NOW + TTL / 2 + TTL


async def test_a_row_that_somebody_writes_to_does_not_hold_up_claims_on_others(
    postgresql_database: Database,
) -> None:
    busy, free = await add_server(postgresql_database, 1), await add_server(postgresql_database, 2)
    async with postgresql_database.write() as session:
        await call_attention(session, busy)
        assert [claim.row_id for claim in await take(postgresql_database, "one")] == [free]
    assert [claim.row_id for claim in await take(postgresql_database, "one")] == [busy]


async def test_no_more_are_claimed_than_asked_for_the_longest_due_first(
    any_database: Database,
) -> None:
    servers = [await add_server(any_database, n) for n in range(1, 6)]
    async with any_database.write() as session:
        for number, server_id in enumerate(servers):
            server = await session.get_one(Server, server_id)
            server.due_at = NOW - timedelta(minutes=number)
    claimed = await take(any_database, "one", limit=2)
    assert {claim.row_id for claim in claimed} == set(servers[3:])


async def test_workers_that_claim_again_and_again_never_get_a_row_twice(
    any_database: Database,
) -> None:
    servers = {await add_server(any_database, n) for n in range(1, 25)}

    async def work(owner: str) -> list[str]:
        mine: list[str] = []
        while len(taken) < len(servers):
            batch = [claim.row_id for claim in await take(any_database, owner, limit=2)]
            mine += batch
            taken.update(batch)
        return mine

    taken: set[str] = set()
    batches = await asyncio.gather(*(work(f"w{n}") for n in range(4)))
    assert sorted(row_id for batch in batches for row_id in batch) == sorted(servers)


async def test_a_stale_claims_result_is_discarded(any_database: Database) -> None:
    server_id = await add_server(any_database)
    (stale,) = await take(any_database, "frozen")
    await take(any_database, "successor", now=NOW + TTL)
    with pytest.raises(ClaimLost):
        async with any_database.write() as session:
            server = await hold(session, stale)
            server.reason = "written by the frozen one"
    assert (await row(any_database, server_id)).reason == ""


async def test_releasing_a_stale_claim_leaves_the_successors_alone(
    any_database: Database,
) -> None:
    await add_server(any_database)
    (stale,) = await take(any_database, "frozen")
    (current,) = await take(any_database, "successor", now=NOW + TTL)
    await claims_of(any_database).release(stale, due_at=None)
    assert (await row(any_database, current.row_id)).claim_token == current.token


async def test_a_released_server_is_due_again_when_it_was_said(any_database: Database) -> None:
    await add_server(any_database)
    (claim,) = await take(any_database, "one")
    await claims_of(any_database).release(claim, due_at=NOW + timedelta(minutes=5))
    assert await take(any_database, "one", now=NOW + timedelta(minutes=4)) == []
    assert len(await take(any_database, "one", now=NOW + timedelta(minutes=5))) == 1


async def test_a_fact_that_arrives_during_the_work_is_not_missed(any_database: Database) -> None:
    server_id = await add_server(any_database)
    (claim,) = await take(any_database, "one")
    async with any_database.write() as session:
        await call_attention(session, server_id)
    await claims_of(any_database).release(claim, due_at=None)
    assert len(await take(any_database, "one")) == 1


async def test_a_claim_does_not_block_readers_or_facts(any_database: Database) -> None:
    server_id = await add_server(any_database)
    await take(any_database, "one")
    async with any_database.write() as session:
        await call_attention(session, server_id)
    assert (await row(any_database, server_id)).attention == 1


async def test_a_condition_leaves_other_rows_alone(any_database: Database) -> None:
    await add_server(any_database)
    claims = claims_of(any_database)
    assert await claims.claim_due(NOW, 10, col(Server.site) == "there") == []
    assert len(await claims.claim_due(NOW, 10, col(Server.site) == "here")) == 1


def a_third_has_passed(claims: Claims[Server]) -> None:
    """As if the claims had been made so long ago."""
    for time_left in claims._held.values():
        time_left.reschedule((time_left.when() or 0.0) - TTL.total_seconds() / 2)


async def _work_forever(claims: Claims[Server], claim: Claim[Server]) -> None:
    async with claims.held(claim):
        await asyncio.Event().wait()
