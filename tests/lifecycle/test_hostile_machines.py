"""What a machine, its BMC or its row says that is no text or no number sets that one server aside,
by name; the others go on. On both databases."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sick_world import DEAD_DISK, HUNG_DISKS, SickWorld
from sqlmodel import select
from world import World

from lab.simulated.drivers import SimulatedBmc, SimulatedPlays
from provisioner.domain.health import HealthLevel
from provisioner.domain.health.sensors import SensorHealth
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import State
from provisioner.drivers.bmc import BmcTarget, Sensor
from provisioner.drivers.netboot.dnsmasq_settings import host_list
from provisioner.drivers.plays import OnEvent, PlayEvent
from provisioner.drivers.ssh import SshTarget
from provisioner.health.sensors import EVERY, SensorPoll
from provisioner.lifecycle.steps.ramdisk import address_reservations
from provisioner.store.database import Database
from provisioner.store.tables import BmcReading, Server, StepLog

NUL_REPORT = {
    "boot_id": "b\0d",
    "context": "ramdisk",
    "uptime_s": 60.0,
    "health": {"disks": [{"name": "nvme0\0", "state": "dead", "critical_warning": 255}]},
}
"""As an earlier version stored it."""


class OddPlays(SimulatedPlays):
    """Changes what inspection finds on the first server."""

    def __init__(self, world: World, **changes: Any) -> None:
        super().__init__(world.rack)
        self._first = world.machine(0).address
        self._changes = changes

    async def run(
        self,
        playbook: str,
        target: SshTarget,
        variables: Mapping[str, Any],
        on_event: OnEvent,
        *,
        timeout_s: float,
    ) -> dict[str, Any]:
        def odd(event: PlayEvent) -> None:
            on_event(replace(event, text=f"{event.text}\0\ud800" + "x" * 100_000))

        answer = await super().run(playbook, target, variables, odd, timeout_s=timeout_s)
        if playbook == "inspect" and target.address == self._first:
            answer["facts"].update(self._changes)
        return answer


class OddBmc(SimulatedBmc):
    """The first server's answers with odd characters, the second one's with a surprise."""

    def __init__(self, world: World) -> None:
        super().__init__(world.rack)
        self._odd, self._worse = (world.machine(n).bmc_address for n in (0, 1))

    async def sensors(self, target: BmcTarget) -> Sequence[Sensor]:
        if target.address == self._worse:
            raise OverflowError("cannot convert float infinity to integer")
        if target.address != self._odd:
            return await super().sensors(target)
        told = ("non-critical \0\ud800", "x" * 10_000)
        return [Sensor("PSU\0", "Power Supply", float("inf"), "W\0", SensorHealth.WARNING, told)]


@pytest.fixture
async def three(any_database: Database, tmp_path: Path) -> World:
    world = World(any_database, tmp_path, servers=3)
    await world.enrol()
    return world


async def write_raw(world: World, statement: str) -> None:
    """Past every check, as an earlier version may have left it."""
    async with world.database.write() as session:
        await (await session.connection()).exec_driver_sql(statement)


async def incident_of(world: World, number: int, kind: IncidentKind) -> str:
    """The reason of the only server's incident of this kind."""
    (found,) = [i for i in await world.incidents() if i.kind is kind]
    assert found.server_id == (await world.server(number)).id
    return found.reason


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"product": "R\x00750"}, "facts/product"),
        ({"firmware": {"date": "\ud800"}}, "facts/firmware/date"),
        ({"memory_mib": float("inf")}, "facts/memory_mib"),
        ({"disks": [{"serial": "S1"}]}, "disks/0/model"),
    ],
    ids=["nul", "surrogate", "infinity", "form"],
)
async def test_facts_that_cannot_be_recorded_quarantine_their_server_alone(
    three: World, changes: dict[str, Any], place: str
) -> None:
    three.reconciler = three.new_reconciler("odd", plays=OddPlays(three, **changes))
    await three.settle()
    states = [server.state for server in await three.servers()]
    assert states == [State.QUARANTINED, State.AVAILABLE, State.AVAILABLE]
    assert place in await incident_of(three, 0, IncidentKind.FAULT)
    async with three.database.read() as session:
        lines = (await session.exec(select(StepLog.text))).all()
    assert any("\ufffd" in line for line in lines), "what a play says is logged all the same"


async def test_a_server_that_dhcp_cannot_serve_keeps_no_other_from_booting(three: World) -> None:
    bad = await three.server(0)
    await write_raw(three, f"UPDATE server SET address = 'fd00::1' WHERE id = '{bad.id}'")
    async with three.database.write() as session:
        hosts = await address_reservations(session, three.clock())
    assert [name for _, _, name in hosts] == [s.name for s in (await three.servers())[1:]]
    host_list(hosts)
    assert bad.name in await incident_of(three, 0, IncidentKind.STEP)
    await three.settle()
    assert [s.state for s in (await three.servers())[1:]] == [State.AVAILABLE] * 2
    assert "IPv4" in (await three.server(0)).reason


async def test_a_report_or_a_row_that_cannot_be_read_sets_its_own_server_aside(
    three: World,
) -> None:
    await three.settle()
    sick = SickWorld(three)
    first, second, _ = await three.servers()
    await sick.tell(HUNG_DISKS, 2)
    report = json.dumps(NUL_REPORT)
    await write_raw(
        three, f"UPDATE agent_identity SET report = '{report}' WHERE server_id = '{first.id}'"
    )
    expect = json.dumps({**second.expect, "gpus": "eight"})
    await write_raw(three, f"UPDATE server SET expect = '{expect}' WHERE id = '{second.id}'")
    await three.new_judge().settle()
    assert "NUL" in await incident_of(three, 0, IncidentKind.REPORT)
    assert (await sick.verdict(0)).level is HealthLevel.OK, "as it was"  # type: ignore[union-attr]
    assert (await sick.verdict(1)).level is HealthLevel.OK  # type: ignore[union-attr]
    assert (await sick.verdict(2)).level is not HealthLevel.OK  # type: ignore[union-attr]


async def test_a_stored_verdict_without_findings_keeps_no_server_from_quarantine(
    three: World,
) -> None:
    await three.settle()
    sick = SickWorld(three)
    await sick.tell(HUNG_DISKS, 0)
    await three.judge.settle()
    first = await three.server(0)
    await write_raw(
        three,
        "UPDATE server_health SET level = 'faulty', verdict = '{}' "
        f"WHERE server_id = '{first.id}'",
    )
    await sick.tell(DEAD_DISK, 1)
    await three.new_judge().settle()
    assert (await sick.verdict(1)).level is HealthLevel.FAULTY  # type: ignore[union-attr]
    assert await incident_of(three, 0, IncidentKind.REPORT)


async def test_odd_sensors_are_kept_in_readable_words_and_keep_no_other_from_being_read(
    three: World,
) -> None:
    await three.settle()
    poll = SensorPoll(three.database, OddBmc(three), three.box, clock=three.clock, site="sim")
    for _ in range(2):
        await three.turn(seconds=EVERY.total_seconds() * 1.2)
        await poll.settle()
    async with three.database.read() as session:
        servers: list[Server] = await three.servers()
        first, second, third = [await session.get_one(BmcReading, s.id) for s in servers]
    assert first.sensors[0]["name"] == "PSU\ufffd"
    assert first.sensors[0]["power_severity"] == 1
    assert len(first.sensors[0]["summary"]) < 1000
    assert "OverflowError" in second.error
    assert third.error == ""
    assert third.sensors
