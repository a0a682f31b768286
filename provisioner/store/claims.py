"""Claims on servers: who works on a row, until when, and the proof that it still does.

A reconciler claims a server, works outside of any transaction, and writes what came of it only
while its token is still on the row. Anyone may take over a claim that has expired; the first
owner's results are then discarded (:class:`ClaimLost`).
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.store.columns import AT_ONCE
from provisioner.store.database import Database
from provisioner.store.tables import Server


class ClaimLost(Exception):
    """Somebody else works on this server now: what we found out about it is void."""


@dataclass(frozen=True, slots=True)
class Claim:
    server_id: str
    token: str
    attention: int
    """The server's attention count when it was claimed."""


async def claim_due(
    database: Database, *, owner: str, now: datetime, ttl: timedelta, limit: int, site: str = ""
) -> list[Claim]:
    """Claim up to `limit` servers that are due and unclaimed, the longest due first."""
    if limit <= 0:
        return []
    free = or_(col(Server.claim_expires_at).is_(None), col(Server.claim_expires_at) <= now)
    query = (
        select(Server.id)
        .where(col(Server.due_at) <= now, free)
        .order_by(col(Server.due_at))
        .limit(limit)
    )
    if site:
        query = query.where(Server.site == site)
    async with database.read() as session:
        candidates = (await session.exec(query)).all()
    claims: list[Claim] = []
    for server_id in candidates:
        token = secrets.token_hex(16)
        async with database.write() as session:
            won = await session.exec(
                update(Server)
                .where(col(Server.id) == server_id, free)
                .values(claim_owner=owner, claim_token=token, claim_expires_at=now + ttl)
                .returning(col(Server.attention))
            )
            attention = won.scalar_one_or_none()
        if attention is not None:
            claims.append(Claim(server_id, token, attention))
    return claims


async def hold(session: AsyncSession, claim: Claim) -> Server:
    """Lock the claimed row for this session and return it. Raises ClaimLost."""
    held = await session.exec(
        update(Server)
        .where(col(Server.id) == claim.server_id, col(Server.claim_token) == claim.token)
        .values(claim_token=claim.token)
    )
    if held.rowcount == 0:
        raise ClaimLost(claim.server_id)
    server = await session.get_one(Server, claim.server_id)
    await session.refresh(server)
    return server


async def renew(database: Database, claim: Claim, *, now: datetime, ttl: timedelta) -> None:
    """Push the claim's end to `now + ttl`. Raises ClaimLost."""
    async with database.write() as session:
        server = await hold(session, claim)
        server.claim_expires_at = now + ttl


async def release(database: Database, claim: Claim, *, due_at: datetime | None) -> None:
    """Give the server back, to be looked at again at `due_at`.

    A fact that arrived since the claim makes it due at once. A lost claim is no one's to release.
    """
    async with database.write() as session:
        await session.exec(
            update(Server)
            .where(col(Server.id) == claim.server_id, col(Server.claim_token) == claim.token)
            .values(
                claim_owner="",
                claim_token="",
                claim_expires_at=None,
                due_at=case((col(Server.attention) == claim.attention, due_at), else_=AT_ONCE),
            )
        )
