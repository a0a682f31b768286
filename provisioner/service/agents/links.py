"""Keeps in memory who may report: each live identity with its lease, by the token's hash.

`refresh`, called every second, picks up what other processes revoke or extend.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Text, cast
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from agent.protocol import Report
from provisioner.store.changes import first_unseen, seen_since
from provisioner.store.database import Database
from provisioner.store.tables import AgentIdentity, Lease, Reservation, Server

_OVERLAP = 30
"""Refreshes that see a change: a link may just have been read while it changed."""
_SLICE = 50
"""Reports decoded without a pause, which takes some milliseconds."""


@dataclass(slots=True)
class Link:
    """One identity in its current state; `boot_id` and `uptime_s` are from the newest report."""

    identity_id: str
    server_id: str
    serial: str
    account_id: str
    """The lease's account; empty for a ramdisk."""
    lease: Lease | None
    """The row, detached; replaced when its grant changes."""
    seen: bool
    """Whether the lifecycle knows that it has reported."""
    boot_id: str
    uptime_s: float
    changed: asyncio.Event = field(default_factory=asyncio.Event, compare=False)
    """Set when the grant changes."""

    def knows(self, said: Report) -> bool:
        """Whether this report, or a later one, has already arrived."""
        return said.boot_id == self.boot_id and said.uptime_s <= self.uptime_s

    def newly_locked(self, said: Report) -> bool:
        lease = self.lease
        if lease is None or said.lease is None or lease.locked_at is not None:
            return False
        return said.lease.id == lease.id and said.lease.locked


class Links:
    """At most one link per identity that is not revoked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._links: dict[str, Link] = {}
        self._unseen: deque[int] = deque(maxlen=_OVERLAP)
        """The first change that each of the last refreshes could not see."""

    async def find(self, token_hash: str) -> Link | None:
        """Return the link, or None if the token is unknown or revoked, which is never cached."""
        link = self._links.get(token_hash)
        if link is None:
            async with self._reading() as session:
                found = _load(session, AgentIdentity.token_hash == token_hash)
                links = [loaded async for _, loaded in found]
            for loaded in links:
                # When two first reports arrive at once, both must hold the same link.
                link = self._links.setdefault(token_hash, loaded)
        return link

    async def refresh(self) -> None:
        """Drop revoked links, and update leases whose grant changed."""
        async with self._reading() as session:
            # Since the last successful refreshes: the database may have been away for long.
            since = min(self._unseen)
            revoked = await session.exec(
                select(AgentIdentity.token_hash).where(
                    seen_since(col(AgentIdentity.changed_in), since),
                    col(AgentIdentity.revoked_at).is_not(None),
                )
            )
            changed = await session.exec(
                select(Lease).where(seen_since(col(Lease.changed_in), since))
            )
            unseen = await first_unseen(session)
        self._unseen.append(unseen)
        for token_hash in revoked.all():
            self._links.pop(token_hash, None)
        leases = {lease.id: lease for lease in changed.all()}
        if not leases:
            return
        for link in self._links.values():
            if link.lease is not None and link.lease.id in leases:
                link.lease = leases[link.lease.id]
                link.changed.set()

    async def load_all(self) -> None:
        """Load all links at once: after a start every agent reports within seconds."""
        async with self._reading() as session:
            async for token_hash, link in _load(session):
                self._links.setdefault(token_hash, link)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncSession]:
        """A read session; the first one begins what refreshes have to see."""
        async with self._database.read() as session:
            if not self._unseen:
                self._unseen.append(await first_unseen(session))
            yield session


async def _load(session: AsyncSession, *where: Any) -> AsyncIterator[tuple[str, Link]]:
    """Links of the identities that are not revoked, with their tokens' hashes.

    Reports are read here rather than by the database, for which one that it cannot read would be
    the end of all.
    """
    query = (
        select(  # type: ignore[call-overload]
            AgentIdentity.token_hash,
            AgentIdentity.id,
            AgentIdentity.server_id,
            Server.serial,
            Lease,
            Reservation.account_id,
            AgentIdentity.seen_at,
            cast(col(AgentIdentity.report), Text),
        )
        .join(Server, col(Server.id) == col(AgentIdentity.server_id))
        .outerjoin(Lease, col(Lease.id) == col(AgentIdentity.lease_id))
        .outerjoin(Reservation, col(Reservation.id) == col(Lease.reservation_id))
        .where(col(AgentIdentity.revoked_at).is_(None), *where)
        .execution_options(yield_per=_SLICE)
    )
    async for rows in (await session.stream(query)).partitions():
        for token_hash, identity_id, server_id, serial, lease, account_id, seen_at, report in rows:
            boot_id, uptime_s = _last_reported(report)
            yield (
                token_hash,
                Link(
                    identity_id=identity_id,
                    server_id=server_id,
                    serial=serial,
                    account_id=account_id or "",
                    lease=lease,
                    seen=seen_at is not None,
                    boot_id=boot_id,
                    uptime_s=uptime_s,
                ),
            )


def _last_reported(report: str) -> tuple[str, float]:
    """The boot and its age in a stored report; nothing if there is none, or it says nothing."""
    try:
        match from_json(report):
            case {"boot_id": str(boot_id), "uptime_s": int() | float() as uptime_s}:
                return boot_id, float(uptime_s)
    except (ValueError, OverflowError):
        pass  # from before reports were checked: its next one is the first known
    return "", 0.0
