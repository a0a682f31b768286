"""Whatever is reported, in whatever order: what health may never do to a server or a tenant."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sick_world import (
    DEAD_DISK,
    HUNG_DISKS,
    LOST_ROW,
    PENDING_ROW,
    REBOOT_ME,
    SOUND_DISK,
    WELL,
    SickWorld,
)
from sqlmodel import select
from world import World

from provisioner.domain.health import Verdict, unfit, unverified
from provisioner.domain.health.fleet import BELIEVED
from provisioner.domain.lifecycle import RequestVerb, State
from provisioner.domain.refusals import Refusal
from provisioner.store.database import Database
from provisioner.store.migrate import migrate
from provisioner.store.tables import Lease, ServerHealth

SERVERS = 3

healths = st.sampled_from(
    [WELL, SOUND_DISK, DEAD_DISK, HUNG_DISKS, LOST_ROW, PENDING_ROW, REBOOT_ME]
)
steps = st.one_of(
    st.tuples(st.just("tell"), st.integers(0, SERVERS - 1), healths),
    st.tuples(st.sampled_from(["reserve", "release", "swap", "repair", "restart", "hour"])),
)


async def _play(sick: SickWorld, step: tuple[Any, ...]) -> None:
    world = sick.world
    reservations = [lease.reservation_id for lease in await world.leases() if not lease.end_reason]
    match step:
        case ("tell", number, health):
            await sick.tell(health, number)
        case ("reserve",):
            try:
                await world.reserve(hours=3)
            except Refusal as refused:
                assert refused.code == "no_capacity"
        case ("release" | "swap" as what,) if reservations:
            await sick.leave(reservations[0], swap=what == "swap")
        case ("repair",):
            for number, server in enumerate(await world.servers()):
                if server.state is State.QUARANTINED:
                    await world.request(RequestVerb.REPAIRED, number)
        case ("restart",):
            world.judge = world.new_judge()
            world.reconciler = world.new_reconciler("another")
        case ("hour",):
            await world.turn(hours=1)


async def _check(sick: SickWorld) -> None:
    now = sick.world.clock()
    kinds = await sick.kinds()
    async with sick.world.database.read() as session:
        leases = {lease.id: lease for lease in (await session.exec(select(Lease))).all()}
        verdicts = {
            row.server_id: Verdict.from_dict(row.verdict)
            for row in (await session.exec(select(ServerHealth))).all()
        }
    for number, server in enumerate(await sick.world.servers()):
        snapshot = await sick.world.snapshot(number)
        lease = snapshot.lease
        if lease is not None and lease.ready_at is not None and lease.ends_at > now:
            assert server.state is State.LEASED, "nothing takes a server from its tenant"
        verdict = verdicts.get(server.id)
        boot = snapshot.agent.report.get("boot_id") if snapshot.agent else None
        if server.state is State.AVAILABLE and verdict is not None and unfit(verdict, boot):
            assert "breaker" in kinds, "a faulty server is offered only while the breaker is open"
        if server.state is State.AVAILABLE and verdict is not None:
            assert unverified(verdict) is None, "our ramdisk verifies first what a tenant reported"
        if server.state is State.QUARANTINED:
            assert any(i.server_id == server.id for i in await sick.world.incidents())
    on_its_word = {lease.server_id for lease in leases.values() if lease.unverified_fault_at}
    assert len(on_its_word) <= BELIEVED, "one account has all leases"
    for outage in await sick.outages():
        lease = leases[outage.lease_id]
        assert lease.ready_at is not None
        assert (
            lease.ready_at
            <= outage.began_at
            <= (outage.ended_at or now)
            <= max(lease.ends_at, outage.began_at)
        )
        if outage.ended_at is None:
            assert lease.ended_at is None
            assert "health" in kinds


@settings(max_examples=6)
@given(st.lists(steps, min_size=4, max_size=10))
async def test_health_takes_no_server_from_its_tenant_and_leaves_no_faulty_one_in_the_pool(
    story: list[tuple[Any, ...]],
) -> None:
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/ironlease.db")
        await migrate(database)
        world = World(database, Path(folder), servers=SERVERS)
        await world.enrol()
        await world.settle()
        sick = SickWorld(world)
        try:
            for step in story:
                await _play(sick, step)
                await sick.pass_time(3)
                await _check(sick)
        finally:
            await database.close()
