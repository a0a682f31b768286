"""The judge: looks at what agents reported, and at who is silent, and keeps a verdict of each.

It reads and records; the reconciler moves servers. Any number of judges may share a database: each
judges all, and nothing happens twice, as a verdict is void when another was stored since the one
that it follows.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health import (
    HEALTHY,
    HealthAction,
    HealthLevel,
    Sample,
    Verdict,
    remember,
    thinned,
    unfit,
    verdict,
)
from provisioner.health.breaker import holds_back
from provisioner.health.effects import Judgement, record
from provisioner.health.reading import (
    Head,
    Told,
    heads,
    past_findings,
    stored_verdicts,
    told,
)
from provisioner.health.samples import drawn, keep, slot
from provisioner.store.database import Database, DatabaseUnavailable, call_attention

log = logging.getLogger(__name__)

PAUSE_S = 3.0
"""Between two looks at all agents: so soon a new report is judged."""

ANEW = timedelta(minutes=1)
"""A server whose agent is silent is judged again after this: its silence counts."""

AT_LEAST = timedelta(minutes=5)
"""So often a server is judged whose agent lives and tells nothing new."""

CONFIRMED = timedelta(minutes=5)
"""An unchanged verdict with findings is stored again after this: when each was last true."""

_ALL = timedelta(seconds=15)
"""How often silent ones are looked for: that reads a row of every server."""

_LATE = timedelta(seconds=10)
"""A report is stored so long after it came, at most."""

_SLICE = 20
"""Servers whose reports are read at once: some milliseconds."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of a server between two looks. It may be lost: windows begin anew."""

    history: tuple[Sample, ...] = ()
    verdict: Verdict = HEALTHY
    stored_at: datetime | None = None
    """`judged_at` of the stored verdict that this one follows."""
    reported_at: datetime | None = None
    looked_at: datetime | None = None
    slot: datetime | None = None
    """Of the last sample for charts."""


class Judge:
    """Runs in the daemon's loop, beside the reconciler."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime], site: str = ""
    ) -> None:
        self._database = database
        self._clock = clock
        self._site = site
        self._known: dict[str, _Known] = {}
        self._listening_since = self._looked_at = clock()
        self._looked_at_all = self._looked_at - _ALL

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with suppress(DatabaseUnavailable):
                await self.look()
            await asyncio.sleep(PAUSE_S)

    async def look(self) -> None:
        """Judge whoever reported anew, or is silent and was not judged for a minute."""
        now = self._clock()
        of_all = now - self._looked_at_all >= _ALL
        async with self._database.read() as session:
            found = await heads(session, self._site, None if of_all else self._looked_at - _LATE)
        if of_all:
            self._looked_at_all = now
            self._known = {key: known for key, known in self._known.items() if key in found}
        self._looked_at = now
        due = [head for head in found.values() if self._is_due(head, now)]
        turned: list[str] = []
        for start in range(0, len(due), _SLICE):
            turned += await self._judge(due[start : start + _SLICE], now)
        if turned:
            await self._give_to_reconcilers(turned, now)

    def _is_due(self, head: Head, now: datetime) -> bool:
        known = self._known.get(head.server_id)
        if known is None or known.looked_at is None or known.reported_at != head.reported_at:
            return True
        return now - known.looked_at >= (ANEW if now - head.seen_at >= ANEW else AT_LEAST)

    async def _give_to_reconcilers(self, turned: Sequence[str], now: datetime) -> None:
        """Only after all are stored, so that the circuit breaker sees them together."""
        async with self._database.write() as session:
            await holds_back(session, now)
        for server_id in turned:
            async with self._database.write() as session:
                await call_attention(session, server_id)

    async def _judge(self, some: Sequence[Head], now: datetime) -> list[str]:
        """Judge some servers; returns those that are not fit for the next lease any more."""
        turned = []
        samples: dict[str, list[dict[str, Any]]] = {}
        async with self._database.read() as session:
            reports = await told(session, some, now)
            await self._catch_up(session, reports)
        for server_id, report in reports.items():
            await asyncio.sleep(0)  # a verdict takes a millisecond: others may run
            before = self._known[server_id]
            try:
                sample = report.sample(self._listening_since)
                history = remember(before.history, sample)
                new = await self._verdict(server_id, report, history, before.verdict, now)
            except DatabaseUnavailable:
                raise  # no fault of the report: the next look judges it
            except Exception:
                # A tenant's report, or a defect of ours: neither may keep the others from being
                # judged. It is tried again with the next report.
                log.exception("%s cannot be judged by what its agent reports", server_id)
                self._known[server_id] = replace(
                    before, reported_at=report.head.reported_at, looked_at=now
                )
                continue
            stored_at = before.stored_at
            if _is_news(before, new, now):
                judgement = Judgement(server_id, report.head.identity_id, new, stored_at)
                async with self._database.write() as session:
                    if not await record(session, judgement, now):
                        del self._known[server_id]
                        continue
                stored_at = now
            if unfit(new, sample.boot_id) and not unfit(before.verdict, sample.boot_id):
                turned.append(server_id)
            if before.slot != slot(now) and now - sample.at < ANEW:
                samples[server_id] = drawn(sample.health)
            self._known[server_id] = _Known(
                thinned(history), new, stored_at, report.head.reported_at, now, slot(now)
            )
        samples = {key: gpus for key, gpus in samples.items() if gpus}
        if samples:
            async with self._database.write() as session:
                await keep(session, samples, slot(now))
        return turned

    async def _catch_up(self, session: AsyncSession, reports: Mapping[str, Told]) -> None:
        """Go on from the stored verdict where it is another than remembered: after a restart,
        after another process judged, after a repair."""
        new = {
            server_id
            for server_id, report in reports.items()
            if self._known.setdefault(server_id, _Known()).stored_at != report.stored_at
        }
        stored = await stored_verdicts(session, new) if new else {}
        for server_id in new:
            previous, stored_at = stored.get(server_id, (HEALTHY, None))
            self._known[server_id] = replace(
                self._known[server_id], verdict=previous, stored_at=stored_at
            )

    async def _verdict(
        self,
        server_id: str,
        report: Told,
        history: Sequence[Sample],
        previous: Verdict,
        now: datetime,
    ) -> Verdict:
        ask = partial(
            verdict, history, now=now, gpus_expected=report.gpus_expected, previous=previous
        )
        new = ask()
        if new.level.rank < HealthLevel.DEGRADED.rank:
            return new
        async with self._database.read() as session:
            return ask(past=await past_findings(session, server_id, now))


def _is_news(before: _Known, new: Verdict, now: datetime) -> bool:
    """Whether to store it. A faulty server always: its lease may have become ready meanwhile."""
    if before.stored_at is None or new.level is HealthLevel.FAULTY:
        return True
    if _outline(before.verdict) != _outline(new):
        return True
    return bool(new.findings) and now - before.stored_at >= CONFIRMED


def _outline(of: Verdict) -> set[tuple[str, str, str, HealthLevel, HealthAction]]:
    """Without times, and without numbers in sentences, which change with each report."""
    return {(f.rule, f.part, f.boot_id, f.level, f.action) for f in of.findings}
