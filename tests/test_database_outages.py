"""A database outage: everything in the daemon resumes when the database is back."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sick_world import HUNG_DISKS, SickWorld
from world import World

from provisioner.domain.health import HealthLevel
from provisioner.domain.lifecycle import RequestVerb, State
from provisioner.domain.webhook_addresses import AddressRules
from provisioner.drivers.webhooks.post import WebhookPost
from provisioner.health import judge as judge_module
from provisioner.health.judge import Judge
from provisioner.health.sensors import SensorPoll
from provisioner.lifecycle.reconciler import Reconciler
from provisioner.loops import Driver, Loop
from provisioner.notifications.sender import WebhookSender
from provisioner.rental.binder import Binder
from provisioner.service.agents.ingest import Ingest
from provisioner.store.claims import Claim, Claims
from provisioner.store.database import Database, DatabaseUnavailable
from provisioner.store.migrate import migrate
from provisioner.store.tables import Server

PATIENCE_S = 60


async def until(condition: Callable[[], Awaitable[object] | object]) -> None:
    """Let others run until it is true."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)


def loops_of(world: World) -> list[Loop]:
    """The daemon's loops, as fast as they can."""
    period, clock = timedelta(seconds=0.02), world.clock
    bmc, post = world.context.drivers.bmc, WebhookPost()
    return [
        Reconciler(world.database, world.context, period=period),
        Judge(world.database, clock=clock, period=period),
        SensorPoll(world.database, bmc, world.box, clock=clock, period=period),
        WebhookSender(
            world.database, world.box, post=post, rules=AddressRules(), clock=clock, period=period
        ),
        Binder(world.database, clock=clock, period=period),
        Ingest(world.database, clock, period=period),
    ]


async def test_the_daemons_loops_outlast_a_database_that_is_restarted(
    stopped_postgresql: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    stopped_postgresql.start()
    database = Database(stopped_postgresql.url.format(name="postgres"))
    await migrate(database)
    world = World(database, tmp_path)
    await world.enrol()
    loops = loops_of(world)
    async with Driver().running(*loops):
        await until(lambda: _moved_to(world, State.AVAILABLE))
        stopped_postgresql.stop()
        for loop in loops:
            await until(lambda status=loop.status: status.failing)
            assert "does not work" in loop.status.error
        stopped_postgresql.start()
        reservation = await world.reserve(hours=1)
        await until(lambda: _moved_to(world, State.LEASED))
        assert len(await world.leases(reservation)) == 1
        for loop in loops:
            await until(lambda status=loop.status: not status.failing)
    said = [record.message for record in caplog.records if "database" in record.name]
    assert [("does not work" in line, "works again" in line) for line in said] == [
        (True, False),
        (False, True),
    ], "it is said once that it is away, and once that it is back"
    await database.close()


async def _moved_to(world: World, state: State) -> bool:
    await world.turn(seconds=3)
    await world.judge.settle()
    return await world.state() is state


async def test_work_goes_on_while_its_claim_cannot_be_renewed_for_a_moment(
    enrolled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, started = enrolled.database, asyncio.Event()
    reconciler = Reconciler(database, enrolled.context, claim_ttl=timedelta(seconds=6))
    monkeypatch.setattr(reconciler, "_advance", partial(_work, started))
    await reconciler.turn(enrolled.clock())
    await started.wait()
    a_third_has_passed = max(reconciler._claims._held.values(), key=lambda left: left.when() or 0)
    a_third_has_passed.reschedule((a_third_has_passed.when() or 0) - 3)
    with monkeypatch.context() as patched:
        patched.setattr(database, "write", _away)
        with pytest.raises(DatabaseUnavailable):
            await reconciler.turn(enrolled.clock())
    enrolled.clock.turn(seconds=5)
    await reconciler.turn(enrolled.clock())
    enrolled.clock.turn(seconds=5)
    assert await Claims(database, Server, ttl=timedelta(1)).claim_due(enrolled.clock(), 1) == []
    assert len(reconciler.workers) == 1
    await reconciler.close()


async def test_a_defect_in_renewing_or_claiming_is_told_and_tried_again(
    enrolled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconciler = Reconciler(enrolled.database, enrolled.context, period=timedelta(seconds=0.02))
    async with Driver().running(reconciler):
        with monkeypatch.context() as patched:
            patched.setattr(reconciler._claims, "claim_due", _defect)
            await until(lambda: reconciler.status.failing)
        await until(lambda: _moved_to(enrolled, State.AVAILABLE))
    assert "ZeroDivisionError" in reconciler.status.error


async def test_a_defect_in_one_servers_pass_stops_no_other_server(
    two_servers: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = two_servers
    bad = (await world.server(0)).id
    advance = world.reconciler._advance

    async def picky(claim: Claim[Server]) -> datetime | None:
        if claim.row_id == bad:
            raise ZeroDivisionError
        return await advance(claim)

    monkeypatch.setattr(world.reconciler, "_advance", picky)
    for number in (0, 1):
        await world.request(RequestVerb.MAINTAIN, number)
    await world.reconciler.settle()
    states = [server.state for server in await world.servers()]
    assert states == [State.AVAILABLE, State.MAINTENANCE]
    assert world.reconciler.status.is_failing(bad)


async def test_a_report_that_met_an_outage_is_judged_by_the_next_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick = SickWorld(world)
    await sick.tell(HUNG_DISKS)
    with monkeypatch.context() as patched:
        patched.setattr(judge_module, "past_findings", _away)
        with pytest.raises(DatabaseUnavailable):
            await world.judge.settle()
    await world.judge.settle()
    verdict = await sick.verdict()
    assert verdict is not None
    assert verdict.level is not HealthLevel.OK


def _away(*_: Any) -> NoReturn:
    raise DatabaseUnavailable("away")


async def _defect(*_: Any) -> NoReturn:
    raise ZeroDivisionError


async def _work(started: asyncio.Event, *_: Any) -> None:
    started.set()
    await asyncio.Event().wait()
