"""The judge: keeps a verdict on each server, from agents' reports and from their silence.

It reads and records; the reconciler moves servers. Any number of judges may share a database. Each
judges every server, yet nothing happens twice: a verdict is void if another was stored since the
one that it follows.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

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
from provisioner.domain.incidents import IncidentKind
from provisioner.health.breaker import holds_back
from provisioner.health.effects import Judgement, record
from provisioner.health.reading import (
    AgentReport,
    ReportHeader,
    latest_reports,
    past_findings,
    report_headers,
    stored_verdicts,
    unreported,
)
from provisioner.health.samples import drawn, keep, slot
from provisioner.incidents import close_incidents, open_incident
from provisioner.loops import Loop
from provisioner.store.database import Database, DatabaseUnavailable, call_attention
from provisioner.store.tables import Server

ANEW = timedelta(minutes=1)
"""How often a server with a silent agent is judged again: its silence counts."""

AT_LEAST = timedelta(minutes=5)
"""How often a server is judged whose agent is alive but has sent no new report."""

CONFIRMED = timedelta(minutes=5)
"""How often an unchanged verdict with findings is stored again, to show when it last held."""

_ALL = timedelta(seconds=15)
"""How often silent agents are looked for, which reads a row of every server."""

_LATE = timedelta(seconds=10)
"""The longest that a report takes from arrival to the database."""

_SLICE = 20
"""Servers whose reports are read at once; this takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of a server between turns. It may be lost: windows then start over."""

    history: tuple[Sample, ...] = ()
    verdict: Verdict = HEALTHY
    stored_at: datetime | None = None
    """`judged_at` of the stored verdict that this one follows."""
    reported_at: datetime | None = None
    judged_at: datetime | None = None
    slot: datetime | None = None
    """Of the last sample for charts."""


_Stored = tuple[Mapping[str, Any], datetime]


class Judge(Loop):
    """Runs beside the reconciler. A server that it cannot judge does not affect the others."""

    name: ClassVar[str] = "judge"

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], datetime],
        site: str = "",
        period: timedelta = timedelta(seconds=3),
    ) -> None:
        """A new report is judged within one `period`."""
        super().__init__(period=period, clock=clock)
        self._database = database
        self._site = site
        self._known: dict[str, _Known] = {}
        self._turned_unfit: set[str] = set()
        self._listening_since = self._polled_at = clock()
        self._polled_all_at = self._polled_at - _ALL

    async def turn(self, now: datetime) -> None:
        """Judge servers with a new report, and silent ones not judged for a minute."""
        of_all = now - self._polled_all_at >= _ALL
        async with self._database.read() as session:
            found = await report_headers(
                session, self._site, None if of_all else self._polled_at - _LATE
            )
        due = [header for header in found.values() if self._is_due(header, now)]
        for start in range(0, len(due), _SLICE):
            await self._judge(due[start : start + _SLICE], now)
        if self._turned_unfit:
            await self._give_to_reconcilers(self._turned_unfit, now)
            self._turned_unfit = set()
        if of_all:
            await self._forget_others(found, now)
            self._polled_all_at = now
        self._polled_at = now

    def _is_due(self, header: ReportHeader, now: datetime) -> bool:
        known = self._known.get(header.server_id)
        if known is None or known.judged_at is None or known.reported_at != header.reported_at:
            return True
        return now - known.judged_at >= (ANEW if now - header.seen_at >= ANEW else AT_LEAST)

    async def _give_to_reconcilers(self, turned: Iterable[str], now: datetime) -> None:
        """Run only once all are stored, so that the circuit breaker sees them together."""
        async with self._database.write() as session:
            await holds_back(session, now)
        for server_id in turned:
            async with self._database.write() as session:
                await call_attention(session, server_id)

    async def _judge(self, some: Sequence[ReportHeader], now: datetime) -> None:
        samples: dict[str, list[dict[str, Any]]] = {}
        async with self._database.read() as session:
            reports = await latest_reports(session, some, now)
            stored = await self._newly_stored(session, reports)
        for server_id, report in reports.items():
            await asyncio.sleep(0)  # a verdict takes a millisecond: let others run
            with self.status.contained(server_id):
                try:
                    samples[server_id] = await self._judge_one(report, stored, now)
                except DatabaseUnavailable:
                    raise  # not the report's fault: the next turn judges it
                except Exception as error:
                    await self._set_aside(report.header, error, now)
                    raise
        samples = {key: gpus for key, gpus in samples.items() if gpus}
        if samples:
            with self.status.contained("samples for charts"):
                async with self._database.write() as session:
                    await keep(session, samples, slot(now))

    async def _judge_one(
        self, report: AgentReport, stored: Mapping[str, _Stored], now: datetime
    ) -> list[dict[str, Any]]:
        """Judge a report, and return its chart samples when one is due.

        May raise anything: the sender controls what is in a report.
        """
        header = report.header
        server_id = header.server_id
        before = self._known.get(server_id, _Known())
        if before.stored_at != report.stored_at:
            # After a restart, a repair, or another process's verdict, continue from what is stored.
            data, stored_at = stored.get(server_id, (None, None))
            previous = HEALTHY if data is None else Verdict.from_dict(data)
            before = replace(before, verdict=previous, stored_at=stored_at)
        sample = report.sample(self._listening_since)
        history = remember(before.history, sample)
        new = await self._verdict(server_id, report, history, before.verdict, now)
        charted = before.slot != slot(now) and now - sample.at < ANEW
        gpus = drawn(sample.health) if charted else []
        stored_at = before.stored_at
        if _is_news(before, new, now):
            judgement = Judgement(server_id, header.identity_id, new, stored_at)
            async with self._database.write() as session:
                valid = await record(session, judgement, now)
            if not valid:
                self._known.pop(server_id, None)
                return []
            stored_at = now
        if report.set_aside:
            await self._close_incident(server_id, now)
        if unfit(new, sample.boot_id) and not unfit(before.verdict, sample.boot_id):
            self._turned_unfit.add(server_id)
        self._known[server_id] = _Known(
            thinned(history), new, stored_at, header.reported_at, now, slot(now)
        )
        return gpus

    async def _set_aside(self, header: ReportHeader, error: Exception, now: datetime) -> None:
        """Open an incident: the server's health is unknown until a report can be judged."""
        before = self._known.get(header.server_id, _Known())
        self._known[header.server_id] = replace(
            before, reported_at=header.reported_at, judged_at=now
        )
        what = f"{type(error).__name__}: {error}"[:200]
        async with self._database.write() as session:
            server = await session.get_one(Server, header.server_id, with_for_update=True)
            await open_incident(
                session,
                server,
                IncidentKind.REPORT,
                f"Its agent's report cannot be judged ({what}). Its health is unknown.",
                "Find the traceback in the provisioner's log. If the agent is older or newer"
                " than the provisioner, update it; otherwise report a bug.",
                now=now,
            )

    async def _close_incident(self, server_id: str, now: datetime) -> None:
        async with self._database.write() as session:
            server = await session.get_one(Server, server_id)
            await close_incidents(session, server, IncidentKind.REPORT, now=now)

    async def _forget_others(self, found: Mapping[str, ReportHeader], now: datetime) -> None:
        """Forget servers whose agents are gone, and close their incidents."""
        self._known = {key: known for key, known in self._known.items() if key in found}
        async with self._database.read() as session:
            gone = await unreported(session, self._site, found)
        for server_id in gone:
            await self._close_incident(server_id, now)

    async def _newly_stored(
        self, session: AsyncSession, reports: Mapping[str, AgentReport]
    ) -> Mapping[str, _Stored]:
        """Return stored verdicts that differ from the remembered ones."""
        new = [
            server_id
            for server_id, report in reports.items()
            if self._known.get(server_id, _Known()).stored_at != report.stored_at
        ]
        return await stored_verdicts(session, new) if new else {}

    async def _verdict(
        self,
        server_id: str,
        report: AgentReport,
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
    """Whether to store it. Always if faulty: the lease may have become ready meanwhile; and the
    first one of a boot, which a server needs before it is offered."""
    if before.stored_at is None or new.level is HealthLevel.FAULTY:
        return True
    if before.verdict.boot_id != new.boot_id:
        return True
    if _outline(before.verdict) != _outline(new):
        return True
    return bool(new.findings) and now - before.stored_at >= CONFIRMED


def _outline(of: Verdict) -> set[tuple[str, str, str, HealthLevel, HealthAction]]:
    """Leave out times and summaries, whose numbers change with each report."""
    return {(f.rule, f.part, f.boot_id, f.level, f.action) for f in of.findings}
