"""Sensors are read through the BMCs, by one process at a time, and count into the verdict."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from ipmi_simulator import SimulatedBmc as IpmiSimulator
from sick_world import SickWorld
from sqlmodel import select
from world import World

from lab.rack.bmc_records import event
from lab.simulated import OFF, RAMDISK
from lab.simulated.drivers import SimulatedBmc
from provisioner.domain.lifecycle import RequestVerb, State
from provisioner.drivers.bmc import BmcCommandFailed, BmcTarget, LogPart, LogPosition, Sensor
from provisioner.drivers.bmc.ipmi import IpmiBmc
from provisioner.health.sensors import AT_ONCE, EVERY, READ_IN, SensorPoll
from provisioner.loops import Driver
from provisioner.store.database import Database
from provisioner.store.tables import BmcReading, Server


class CountingBmc(SimulatedBmc):
    """Notes whose sensors are read."""

    def __init__(self, world: World) -> None:
        super().__init__(world.rack)
        self.asked: list[str] = []
        self.busy = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()
        self.log_fails = False

    async def new_log_entries(self, target: BmcTarget, after: LogPosition | None) -> LogPart:
        if self.log_fails:
            raise BmcCommandFailed(target, "read event log", "Invalid command")
        return await super().new_log_entries(target, after)

    async def sensors(self, target: BmcTarget) -> Sequence[Sensor]:
        self.asked.append(target.address)
        self.busy.set()
        told = await super().sensors(target)
        await self.released.wait()
        return told


class Ward(SickWorld):
    """A world whose sensors are polled."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.bmc = CountingBmc(world)
        self.poll = self.new_poll()

    def new_poll(self) -> SensorPoll:
        return SensorPoll(
            self.world.database, self.bmc, self.world.box, clock=self.world.clock, site="sim"
        )

    async def read(self, times: int = 1) -> None:
        """Readings, each followed by a judgement and a pass of the reconciler."""
        for _ in range(times):
            await self.world.turn(seconds=EVERY.total_seconds() * 1.2)
            await self.poll.settle()
            await self.world.judge.settle()
            await self.world.reconciler.settle()

    async def readings(self) -> list[BmcReading]:
        async with self.world.database.read() as session:
            return list((await session.exec(select(BmcReading))).all())

    async def reading(self) -> BmcReading:
        (found,) = await self.readings()
        return found


@pytest.fixture
async def ward(world: World) -> Ward:
    return Ward(world)


async def shelved(world: World, state: State = State.AVAILABLE) -> Ward:
    """Servers that wait in the ramdisk, without having got there."""
    async with world.database.write() as session:
        for server in await session.exec(select(Server)):
            server.state = state
    for machine in world.rack.servers:
        machine.running = RAMDISK
    return Ward(world)


@pytest.fixture
async def shelf(world: World) -> Ward:
    return await shelved(world)


async def test_an_available_server_whose_power_supply_failed_twice_is_quarantined(
    ward: Ward,
) -> None:
    ward.world.machine().faults = ["critical:PSU 2"]
    await ward.read()
    assert await ward.world.state() is State.AVAILABLE
    await ward.read()
    server = await ward.world.server()
    assert server.state is State.QUARANTINED
    assert server.reason == "PSU 2: critical"
    assert "rackctl server health sim-01" in server.next_action


async def test_a_leased_server_is_drained_when_its_lease_ends(ward: Ward) -> None:
    await ward.lease(hours=1)
    ward.world.machine().faults = ["failed:Fan 1"]
    await ward.read(2)
    assert await ward.world.state() is State.LEASED
    assert await ward.outages() == []
    await ward.world.turn(hours=1)
    await ward.pass_time(12)
    assert await ward.world.state() is State.QUARANTINED


async def test_a_good_servers_sensors_are_kept_as_good(ward: Ward) -> None:
    await ward.read(2)
    reading = await ward.reading()
    severities = {sensor["name"]: sensor for sensor in reading.sensors}
    assert severities["PSU 1"]["power_severity"] == 0
    assert severities["Fan 1"]["fan_severity"] == 0
    assert severities["Inlet Temp"]["temperature_severity"] == 0
    assert severities["DIMM A1"]["memory_severity"] == 0
    assert severities["Drive 0"]["drive_severity"] == 0
    assert severities["LAN 1"]["network_severity"] == 0
    assert reading.error == ""
    assert await ward.world.state() is State.AVAILABLE


async def test_a_silent_bmc_is_no_finding_and_its_reading_grows_stale(ward: Ward) -> None:
    await ward.read()
    before = (await ward.reading()).read_at
    ward.world.machine().faults = ["no_bmc"]
    await ward.read()
    reading = await ward.reading()
    assert reading.read_at == before
    assert "does not answer" in reading.error
    assert await ward.verdict() is not None
    assert await ward.findings() == []


async def test_bad_readings_far_apart_are_not_two_in_a_row(ward: Ward) -> None:
    machine = ward.world.machine()
    machine.faults = ["critical:PSU 2"]
    await ward.read()
    machine.faults = ["no_bmc"]
    await ward.read(3)
    machine.faults = ["critical:PSU 2"]
    await ward.read()
    assert await ward.world.state() is State.AVAILABLE


async def test_a_refused_login_is_not_tried_again_for_an_hour(shelf: Ward) -> None:
    shelf.world.machine().faults = ["bad_password"]
    await shelf.poll.settle()
    refused = await shelf.reading()
    assert "refuses the login" in refused.error
    assert refused.due_at - shelf.world.clock() > timedelta(minutes=59)


async def test_a_server_that_is_off_tells_nothing(shelf: Ward) -> None:
    machine = shelf.world.machine()
    machine.running, machine.faults = OFF, ["failed:Fan 1"]
    await shelf.poll.settle()
    assert (await shelf.reading()).sensors == []
    assert shelf.bmc.asked == []


async def test_what_was_read_before_a_repair_is_forgotten(ward: Ward) -> None:
    ward.world.machine().faults = ["critical:PSU 2"]
    await ward.read(2)
    assert await ward.world.state() is State.QUARANTINED
    ward.world.machine().faults = []
    await ward.world.request(RequestVerb.REPAIRED)
    await ward.world.settle()
    assert await ward.readings() == []
    await ward.read(2)
    assert await ward.world.state() is State.AVAILABLE


async def test_a_reading_that_was_begun_before_a_repair_is_void(ward: Ward) -> None:
    await ward.world.request(RequestVerb.QUARANTINE)
    await ward.world.settle()
    ward.world.machine().faults = ["critical:PSU 2"]
    ward.bmc.released.clear()
    reading = asyncio.create_task(ward.poll.settle())
    await ward.bmc.busy.wait()
    ward.world.machine().faults = []
    await ward.world.request(RequestVerb.REPAIRED)
    await ward.world.reconciler.settle()
    ward.bmc.released.set()
    await reading
    assert all(s["health"] == "ok" for row in await ward.readings() for s in row.sensors)


@pytest.mark.parametrize("state", sorted(set(State) - set(READ_IN)))
async def test_a_server_that_is_switched_or_worked_on_is_not_asked(
    world: World, state: State
) -> None:
    ward = await shelved(world, state)
    await ward.poll.settle()
    assert ward.bmc.asked == []


async def test_a_lost_bmc_is_not_asked(shelf: Ward) -> None:
    async with shelf.world.database.write() as session:
        (await session.exec(select(Server))).one().bmc_lost_at = shelf.world.clock()
    await shelf.poll.settle()
    assert shelf.bmc.asked == []


async def test_a_bmc_is_left_alone_before_a_lease_ends(ward: Ward) -> None:
    await ward.lease(hours=1)
    ward.world.clock.turn(minutes=58, seconds=30)
    await ward.poll.settle()
    assert ward.bmc.asked == []


async def test_two_processes_read_each_server_once(any_database: Database, tmp_path: Path) -> None:
    world = World(any_database, tmp_path, servers=2)
    await world.enrol()
    ward = await shelved(world)
    other = ward.new_poll()
    for times in (1, 2):
        await asyncio.gather(ward.poll.settle(), other.settle())
        await asyncio.gather(ward.poll.settle(), other.settle())
        addresses = times * [machine.bmc_address for machine in world.rack.servers]
        assert sorted(ward.bmc.asked) == sorted(addresses)
        world.clock.turn(minutes=6)
    first, second = await ward.readings()
    assert first.read_at is not None
    assert second.read_at is not None


async def test_few_are_read_at_once(world: World) -> None:
    ward = await shelved(world)
    async with world.database.write() as session:
        one = (await session.exec(select(Server))).one()
        for number in range(2 * AT_ONCE):
            copy = Server(**one.model_dump(exclude={"id"}))
            for name in ("name", "serial", "boot_mac", "address", "bmc_address"):
                setattr(copy, name, f"{getattr(one, name)}-{number}")
            session.add(copy)
    ward.bmc.released.clear()
    async with Driver().running(ward.poll):
        await ward.bmc.busy.wait()
        assert len(await ward.readings()) == AT_ONCE


MEMORY_ERROR, CORRECTED = (0x0C, 0x6F, 1), (0x0C, 0x6F, 0)


async def test_a_memory_error_in_the_event_log_puts_an_available_server_aside(ward: Ward) -> None:
    await ward.read()
    ward.world.machine().record(ward.world.clock(), "DIMM A1", MEMORY_ERROR)
    await ward.read()
    server = await ward.world.server()
    assert server.state is State.QUARANTINED
    assert server.reason.startswith("DIMM A1, uncorrectable error (event log): ")
    assert server.reason.endswith("reseat or replace the memory module")
    assert "rackctl server health sim-01" in server.next_action


async def test_a_corrected_error_is_watched_and_the_server_stays_in_the_pool(ward: Ward) -> None:
    await ward.read()
    ward.world.machine().record(ward.world.clock(), "DIMM A1", CORRECTED)
    await ward.read(2)
    assert await ward.world.state() is State.AVAILABLE
    assert [finding.rule for finding in (await ward.verdict()).findings] == ["memory_warning"]


async def test_what_was_logged_before_the_enrolment_or_a_repair_is_not_held_against_it(
    ward: Ward,
) -> None:
    machine, began = ward.world.machine(), ward.world.clock() - timedelta(days=1)
    machine.record(began, "DIMM A1", MEMORY_ERROR)
    await ward.read(2)
    assert await ward.world.state() is State.AVAILABLE
    machine.record(ward.world.clock(), "DIMM A1", MEMORY_ERROR)
    await ward.read()
    assert await ward.world.state() is State.QUARANTINED
    await ward.world.request(RequestVerb.REPAIRED)
    await ward.world.settle()
    await ward.read(2)
    assert await ward.world.state() is State.AVAILABLE


async def test_an_error_logged_while_a_repaired_server_starts_is_held_against_it(
    ward: Ward,
) -> None:
    machine = ward.world.machine()
    await ward.read()
    machine.record(ward.world.clock(), "DIMM A1", MEMORY_ERROR)
    await ward.read()
    ward.world.clock.turn(minutes=5)
    await ward.world.request(RequestVerb.REPAIRED)
    await ward.world.reconciler.turn(ward.world.clock())
    await ward.world.reconciler.settle()
    machine.record(ward.world.clock() + timedelta(seconds=30), "DIMM A1", MEMORY_ERROR)
    await ward.read()
    assert await ward.world.state() is State.QUARANTINED


async def test_a_bmc_without_an_event_log_still_tells_its_sensors(ward: Ward) -> None:
    ward.bmc.log_fails = True
    ward.world.machine().faults = ["critical:PSU 2"]
    await ward.read(2)
    assert "read event log" in (await ward.reading()).error
    assert await ward.world.state() is State.QUARANTINED


class WithRealReadings(CountingBmc):
    """Power and the rest are simulated; sensors and event log are those of a real BMC."""

    def __init__(self, world: World, driver: IpmiBmc, real: BmcTarget) -> None:
        super().__init__(world)
        self._driver = driver
        self._real = real

    async def sensors(self, target: BmcTarget) -> Sequence[Sensor]:
        return await self._driver.sensors(self._real)

    async def new_log_entries(self, target: BmcTarget, after: LogPosition | None) -> LogPart:
        return await self._driver.new_log_entries(self._real, after)


async def test_a_memory_error_that_a_real_bmc_logs_goes_all_the_way(
    ward: Ward, tmp_path: Path
) -> None:
    real, driver = IpmiSimulator(tmp_path / "bmc"), IpmiBmc()
    await real.start()
    try:
        ward.bmc = WithRealReadings(ward.world, driver, real.target)
        ward.poll = ward.new_poll()
        await ward.read(2)
        assert await ward.world.state() is State.AVAILABLE
        assert (await ward.verdict()).level == "ok"
        await real.log(event("DIMM A1", 1))
        await ward.read()
        server = await ward.world.server()
    finally:
        await driver.close()
        await real.stop()
    assert server.state is State.QUARANTINED
    assert server.reason.startswith("DIMM A1, uncorrectable error (event log): ")
