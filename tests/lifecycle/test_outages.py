"""The database is away for a while: all that runs in the daemon goes on when it is back."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sick_world import HUNG_DISKS, SickWorld
from world import World

from provisioner.domain.health import HealthLevel
from provisioner.domain.lifecycle import State
from provisioner.domain.webhook_addresses import AddressRules
from provisioner.drivers.webhooks.post import WebhookPost
from provisioner.health import judge as judging
from provisioner.health import sensors as sensing
from provisioner.lifecycle import reconciler as reconciling
from provisioner.lifecycle.reconciler import Reconciler
from provisioner.notifications import sender as sending
from provisioner.notifications.sender import WebhookSender
from provisioner.store.claims import ClaimLost, claim_due
from provisioner.store.database import Database, DatabaseUnavailable
from provisioner.store.migrate import migrate

PATIENCE_S = 60


async def until(condition: Callable[[], Awaitable[object] | object]) -> None:
    """Let others run until it is true."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The daemon's loops; the clock goes on, and agents report."""
    monkeypatch.setattr(reconciling, "POLL", timedelta(seconds=0.02))
    for module, name in ((judging, "PAUSE_S"), (sensing, "POLL_S"), (sending, "POLL_S")):
        monkeypatch.setattr(module, name, 0.02)
    sender = WebhookSender(
        world.database, world.box, post=WebhookPost(), rules=AddressRules(), clock=world.clock
    )
    sensors = sensing.SensorPoll(
        world.database, world.context.drivers.bmc, world.box, clock=world.clock
    )
    loops = [world.reconciler.run(), world.judge.run(), sensors.run(), sender.run()]
    tasks = [asyncio.create_task(loop) for loop in loops]
    yield
    assert [task for task in tasks if task.done()] == []
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_daemons_loops_outlast_a_database_that_is_restarted(
    stopped_postgresql: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    stopped_postgresql.start()
    database = Database(stopped_postgresql.url.format(name="postgres"))
    await migrate(database)
    world = World(database, tmp_path)
    await world.enrol()
    async with running(world, monkeypatch):
        await until(lambda: _moved_to(world, State.AVAILABLE))
        stopped_postgresql.stop()
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable, match="does not work"):
                await world.servers()
        stopped_postgresql.start()
        reservation = await world.reserve(hours=1)
        await until(lambda: _moved_to(world, State.LEASED))
        assert len(await world.leases(reservation)) == 1
    said = [record.message for record in caplog.records if "database" in record.name]
    assert [("does not work" in line, "works again" in line) for line in said] == [
        (True, False),
        (False, True),
    ], "it is said once that it is away, and once that it is back"
    await database.close()


async def _moved_to(world: World, state: State) -> bool:
    await world.turn(seconds=3)
    return await world.state() is state


async def test_work_goes_on_while_its_claim_cannot_be_renewed_for_a_moment(
    enrolled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Exception | None] = [DatabaseUnavailable("away"), None, None]
    working = await _work(enrolled, monkeypatch, answers)
    await until(lambda: not answers)
    assert not working.done()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_work_ends_when_its_claim_may_have_been_taken_over(
    enrolled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = await _work(enrolled, monkeypatch, [DatabaseUnavailable("away")] * 10)
    with pytest.raises(ClaimLost):
        await asyncio.wait_for(working, PATIENCE_S)


async def _work(
    world: World, monkeypatch: pytest.MonkeyPatch, answers: list[Exception | None]
) -> asyncio.Task[Any]:
    """Endless work under a claim; `answers` is what comes of renewing it."""
    ttl = timedelta(seconds=1.5)
    reconciler = Reconciler(world.database, world.context, claim_ttl=ttl)
    now = world.clock()
    (claim,) = await claim_due(world.database, owner="test", now=now, ttl=ttl, limit=1)

    async def renew(*_: Any, **__: Any) -> None:
        if error := answers.pop(0):
            raise error

    async def work() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(reconciling, "renew", renew)
    return asyncio.create_task(reconciler._while_renewing(claim, work()))


async def test_a_report_that_met_an_outage_is_judged_by_the_next_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick = SickWorld(world)
    await sick.tell(HUNG_DISKS)
    with monkeypatch.context() as patched:
        patched.setattr(judging, "past_findings", _away)
        with pytest.raises(DatabaseUnavailable):
            await world.judge.look()
    await world.judge.look()
    verdict = await sick.verdict()
    assert verdict is not None
    assert verdict.level is not HealthLevel.OK


async def _away(*_: Any) -> None:
    raise DatabaseUnavailable("away")
