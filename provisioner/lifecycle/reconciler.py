"""The reconciler: claims servers that are due, and moves each on until there is nothing to do.

Level-triggered: a pass reads how things stand, carries out the transition that is due or runs the
operation's current step, and records it. It may be killed anywhere; the next pass, of this process
or another, goes on at the same step.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import SLA, State, Transition, due
from provisioner.health.breaker import holds_back
from provisioner.incidents import open_incident
from provisioner.lifecycle.job import Context, Wait
from provisioner.lifecycle.operation import run_step
from provisioner.lifecycle.snapshot import SILENCE, Snapshot, load
from provisioner.lifecycle.transition import carry_out
from provisioner.rental.reservations import lock_class
from provisioner.store.claims import Claim, ClaimLost, claim_due, hold, release, renew
from provisioner.store.database import Database, DatabaseUnavailable, defect_of

log = logging.getLogger(__name__)

POLL = timedelta(seconds=1)
"""How often another process's facts are looked for; this process's own wake it at once."""


def owner_name() -> str:
    """Who holds a claim: this process, on this machine."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Reconciler:
    """Runs in the daemon's loop; any number of them share one database."""

    def __init__(
        self,
        database: Database,
        context: Context,
        *,
        owner: str = "",
        claim_ttl: timedelta = timedelta(seconds=30),
        concurrency: int = 64,
        site: str = "",
    ) -> None:
        self._database = database
        self._context = context
        self._owner = owner or owner_name()
        self._claim_ttl = claim_ttl
        self._concurrency = concurrency
        self._site = site
        self._watching_since = context.clock()
        self._passes: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Work until cancelled; passes in progress are then cancelled and their claims left."""
        try:
            while True:
                self._database.attention.clear()
                started = 0
                with contextlib.suppress(DatabaseUnavailable):
                    started = await self.start_due()
                if started == 0 or len(self._passes) >= self._concurrency:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(
                            self._database.attention.wait(), POLL.total_seconds()
                        )
        finally:
            for task in self._passes:
                task.cancel()
            await asyncio.gather(*self._passes, return_exceptions=True)

    async def start_due(self) -> int:
        """Claim what is due and start a pass over each; returns how many."""
        claims = await claim_due(
            self._database,
            owner=self._owner,
            now=self._context.clock(),
            ttl=self._claim_ttl,
            limit=self._concurrency - len(self._passes),
            site=self._site,
        )
        for claim in claims:
            task = asyncio.create_task(self.pass_over(claim))
            self._passes.add(task)
            task.add_done_callback(self._pass_ended)
        return len(claims)

    def _pass_ended(self, task: asyncio.Task[None]) -> None:
        self._passes.discard(task)
        self._database.attention.set()
        if (error := defect_of(task)) is not None:
            # A defect of ours, not of the server: its claim expires and the step is tried again.
            log.error("a pass ended with an unexpected error", exc_info=error)

    async def settle(self) -> None:
        """Run passes until no server is due at this instant (for clocks that tests turn)."""
        while await self.start_due() or self._passes:
            await asyncio.gather(*self._passes, return_exceptions=True)

    async def pass_over(self, claim: Claim) -> None:
        """Move one server on as far as it goes, keeping the claim alive meanwhile."""
        try:
            due_at = await self._while_renewing(claim, self._advance(claim))
            await release(self._database, claim, due_at=due_at)
        except ClaimLost:
            log.warning("claim on %s was taken over; its results are discarded", claim.server_id)

    async def _while_renewing(
        self, claim: Claim, work: Coroutine[Any, Any, datetime | None]
    ) -> datetime | None:
        working = asyncio.create_task(work)
        renewing = asyncio.create_task(self._keep_renewing(claim))
        try:
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await renewing  # only ever ends by an exception: ClaimLost, or a defect's
            return await working
        finally:
            for task in (working, renewing):
                task.cancel()
            await asyncio.gather(working, renewing, return_exceptions=True)

    async def _keep_renewing(self, claim: Claim) -> None:
        """While the database is away the work goes on, until others may have taken it over."""
        ttl_s = self._claim_ttl.total_seconds()
        loop = asyncio.get_running_loop()
        renewed_at = loop.time()
        while True:
            await asyncio.sleep(ttl_s / 3)
            asked_at = loop.time()
            try:
                await renew(self._database, claim, now=self._context.clock(), ttl=self._claim_ttl)
            except DatabaseUnavailable:
                if loop.time() - renewed_at >= ttl_s:
                    raise ClaimLost(claim.server_id) from None
            else:
                renewed_at = asked_at

    async def _advance(self, claim: Claim) -> datetime | None:
        """Transitions and steps until one has to wait; returns when to look again."""
        while True:
            async with self._database.read() as session:
                snapshot = await load(session, claim.server_id)
            now = self._context.clock()
            if due(snapshot.server.state, snapshot.facts(now, self._watching_since)):
                await self._transition(claim, snapshot.server.class_name)
                continue
            await self._watch_sla(claim, snapshot, now)
            operation = snapshot.operation
            if operation is None or operation.ended_at is not None:
                return self._idle_until(snapshot, now)
            outcome = await run_step(self._database, self._context, claim, snapshot)
            if isinstance(outcome, Wait):
                return self._context.clock() + timedelta(seconds=outcome.seconds)

    async def _transition(self, claim: Claim, class_name: str) -> None:
        """Decide again under the locks, on what is true now, and carry it out."""
        async with self._database.write() as session:
            await lock_class(session, class_name)
            server = await hold(session, claim)
            snapshot = await load(session, claim.server_id)
            now = self._context.clock()
            transition = due(server.state, snapshot.facts(now, self._watching_since))
            if transition is not None and not await self._held_back(session, transition, now):
                log.info("%s: %s → %s", server.name, server.state, transition.target)
                await carry_out(session, transition, server, snapshot, now)

    async def _held_back(
        self, session: AsyncSession, transition: Transition, now: datetime
    ) -> bool:
        """Whether the circuit breaker is open, or opens by this one; the facts say so then."""
        return transition.for_health and await holds_back(session, now)

    async def _watch_sla(self, claim: Claim, snapshot: Snapshot, now: datetime) -> None:
        server = snapshot.server
        allowed = SLA.get(server.state)
        if allowed is None or now - server.state_since <= allowed:
            return
        step = snapshot.operation.step.value if snapshot.operation else "no step"
        async with self._database.write() as session:
            row = await hold(session, claim)
            await open_incident(
                session,
                row,
                IncidentKind.STUCK,
                f"{server.state.value} for {now - server.state_since}, allowed {allowed}; "
                f"at {step}" + (f": {server.reason}" if server.reason else ""),
                server.next_action or f"look at its log: rackctl operation follow {server.name}",
                now=now,
                operation_id=snapshot.operation.id if snapshot.operation else None,
            )

    def _idle_until(self, snapshot: Snapshot, now: datetime) -> datetime | None:
        """The next instant at which something could become due without a new fact."""
        if snapshot.lease is not None and snapshot.lease.ends_at > now:
            return snapshot.lease.ends_at
        return now + SILENCE if snapshot.server.state is State.AVAILABLE else None
