"""The reconciler: claims servers that are due, and advances each until there is nothing to do.

Level-triggered: a pass reads the current state, carries out the transition that is due or runs the
operation's current step, and records it. It may be killed anywhere; the next pass, in this process
or another, continues at the same step.
"""

import logging
from datetime import datetime, timedelta
from typing import ClassVar

from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import SLA, State
from provisioner.domain.transitions import Transition, due, operation_due
from provisioner.health.breaker import holds_back
from provisioner.incidents import open_incident
from provisioner.lifecycle.job import Context, Wait
from provisioner.lifecycle.operation import run_step
from provisioner.lifecycle.requests import begin
from provisioner.lifecycle.snapshot import SILENCE, Snapshot, load
from provisioner.lifecycle.transition import carry_out
from provisioner.loops import Loop
from provisioner.rental.reservations import lock_class
from provisioner.store.claims import Claim, ClaimLost, Claims, hold
from provisioner.store.database import Database
from provisioner.store.tables import Server

log = logging.getLogger(__name__)


class Reconciler(Loop):
    """Advances servers; any number of reconcilers may share a database."""

    name: ClassVar[str] = "reconciler"

    def __init__(
        self,
        database: Database,
        context: Context,
        *,
        owner: str = "",
        claim_ttl: timedelta = timedelta(seconds=30),
        concurrency: int = 64,
        site: str = "",
        period: timedelta = timedelta(seconds=1),
    ) -> None:
        """Facts from this process wake it at once; those from others are seen after a `period`."""
        super().__init__(
            period=period, clock=context.clock, wake=database.attention, concurrency=concurrency
        )
        self._database = database
        self._context = context
        self._claims = Claims(database, Server, owner=owner, ttl=claim_ttl)
        self._of_site = (col(Server.site) == site,) if site else ()
        self._watching_since = context.clock()

    async def turn(self, now: datetime) -> None:
        """Renew the claims on servers in progress, and start on those that are due."""
        await self._claims.renew(now)
        claims = await self._claims.claim_due(self.clock(), self.workers.free, *self._of_site)
        for claim in claims:
            self.workers.start(claim.row_id, self.pass_over(claim))

    async def pass_over(self, claim: Claim[Server]) -> None:
        """Advance one server as far as it goes. After a defect its claim expires, and the step is
        retried."""
        try:
            async with self._claims.held(claim):
                due_at = await self._advance(claim)
            await self._claims.release(claim, due_at=due_at)
        except ClaimLost:
            log.warning("claim on %s was taken over; its results are discarded", claim.row_id)
        finally:
            self.wake.set()  # facts that arrived meanwhile are due at once

    async def _advance(self, claim: Claim[Server]) -> datetime | None:
        """Carry out transitions and steps until one has to wait; return when to look again."""
        while True:
            async with self._database.read() as session:
                snapshot = await load(session, claim.row_id)
            now = self._context.clock()
            state, facts = snapshot.server.state, snapshot.facts(now, self._watching_since)
            if due(state, facts):
                await self._transition(claim, snapshot.server.class_name)
                continue
            if operation_due(state, facts):
                await self._begin_requested(claim)
                continue
            await self._watch_sla(claim, snapshot, now)
            operation = snapshot.operation
            if operation is None or operation.ended_at is not None:
                return self._idle_until(snapshot, now)
            outcome = await run_step(self._database, self._context, claim, snapshot)
            if isinstance(outcome, Wait):
                return self._waits_until(outcome, snapshot)

    async def _transition(self, claim: Claim[Server], class_name: str) -> None:
        """Decide again under the locks, from current facts, and carry it out."""
        async with self._database.write() as session:
            await lock_class(session, class_name)
            server = await hold(session, claim)
            snapshot = await load(session, claim.row_id)
            now = self._context.clock()
            transition = due(server.state, snapshot.facts(now, self._watching_since))
            if transition is not None and not await self._held_back(session, transition, now):
                log.info("%s: %s → %s", server.name, server.state, transition.target)
                await carry_out(session, transition, server, snapshot, now)

    async def _begin_requested(self, claim: Claim[Server]) -> None:
        """Start the first requested operation, if it is still due."""
        async with self._database.write() as session:
            server = await hold(session, claim)
            snapshot = await load(session, claim.row_id)
            now = self._context.clock()
            verb = operation_due(server.state, snapshot.facts(now, self._watching_since))
            if verb is not None:
                log.info("%s: %s", server.name, verb)
                await begin(session, server, snapshot, verb, now)

    async def _held_back(
        self, session: AsyncSession, transition: Transition, now: datetime
    ) -> bool:
        """Whether the circuit breaker is open, or opens because of this transition."""
        return transition.for_health and await holds_back(session, now)

    async def _watch_sla(self, claim: Claim[Server], snapshot: Snapshot, now: datetime) -> None:
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
                server.next_action or f"check its log: rackctl operation follow {server.name}",
                now=now,
                operation_id=snapshot.operation.id if snapshot.operation else None,
            )

    def _waits_until(self, wait: Wait, snapshot: Snapshot) -> datetime:
        """Return when to continue a step: no later than the end of the lease."""
        now = self._context.clock()
        until = now + timedelta(seconds=wait.seconds)
        lease = snapshot.lease
        return min(until, lease.ends_at) if lease and lease.ends_at > now else until

    def _idle_until(self, snapshot: Snapshot, now: datetime) -> datetime | None:
        """Return when something could next become due without a new fact."""
        if snapshot.lease is not None and snapshot.lease.ends_at > now:
            return snapshot.lease.ends_at
        return now + SILENCE if snapshot.server.state is State.AVAILABLE else None
