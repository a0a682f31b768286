"""A jump of a host's clock ends no lease: it is reported, and time goes on as it passes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select
from world import Clock, World

from provisioner.domain.clock import LONGEST_REBOOT, Reading
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import State
from provisioner.site_clock import ClockCheck, Host, SiteClock, accept_clock, start_clock
from provisioner.store.database import Database
from provisioner.store.tables import AuditEvent, HostClock, Incident

TOLERANCE = timedelta(seconds=5)
DAY = timedelta(days=1)


class Machine(Clock):
    """A host whose clocks tests turn; called, it returns the site's time on it.

    Its clocks begin by real time, as PostgreSQL's does.
    """

    def __init__(self, name: str = "host-1") -> None:
        super().__init__()
        self.name = name
        self.boots = 1
        self.jumped = timedelta()
        self.began = datetime.now(UTC) - timedelta(hours=1)

    @property
    def host(self) -> Host:
        return Host(self.name, f"{self.name} boot {self.boots}", self.read)

    def read(self) -> Reading:
        now = datetime.now(UTC) + self.offset
        return Reading(now + self.jumped, (now - self.began).total_seconds())

    def reboot(self, takes: timedelta) -> None:
        self.boots += 1
        self.offset += takes
        self.began = datetime.now(UTC) + self.offset

    async def start(self, database: Database) -> None:
        """Start a daemon on it."""
        self.site_clock: SiteClock = await start_clock(database, TOLERANCE, self.host)
        self.check = ClockCheck(database, self.site_clock)
        await self.check.settle()

    def __call__(self) -> datetime:
        return self.site_clock()

    @property
    def off(self) -> timedelta:
        """How far the site's time is from the time that really passes."""
        off = self() - (datetime.now(UTC) + self.offset)
        return timedelta(seconds=round(off.total_seconds()))


@pytest.fixture
async def machine(any_database: Database) -> Machine:
    machine = Machine()
    await machine.start(any_database)
    return machine


@pytest.fixture
async def other(any_database: Database) -> AsyncIterator[Database]:
    """Another daemon's connections to the same database."""
    database = Database(any_database.url.render_as_string(hide_password=False))
    yield database
    await database.close()


Reasons = Callable[[], Awaitable[list[str]]]


@pytest.fixture
def reasons(any_database: Database) -> Reasons:
    """What the open incident says; at most one is open for the whole site."""

    async def read() -> list[str]:
        async with any_database.read() as session:
            query = select(Incident).where(Incident.kind == IncidentKind.CLOCK)
            found = (await session.exec(query)).all()
        return [incident.reason for incident in found if incident.closed_at is None]

    return read


async def test_a_jump_is_reported_and_not_followed(machine: Machine, reasons: Reasons) -> None:
    assert await reasons() == []
    for jump in (DAY, -DAY):
        machine.jumped = jump
        await machine.check.settle()
        assert machine.off == timedelta()
        (reason,) = await reasons()
        assert ("ahead of" if jump > timedelta() else "behind") in reason
        assert "host-1" in reason
    machine.jumped = timedelta(seconds=2)
    await machine.check.settle()
    assert machine.off == timedelta(seconds=2)
    assert await reasons() == []


async def test_a_jump_while_no_daemon_runs_is_not_followed_either(
    machine: Machine, any_database: Database, reasons: Reasons
) -> None:
    machine.turn(hours=5)
    machine.jumped = DAY
    await machine.start(any_database)
    assert machine.off == timedelta()
    assert len(await reasons()) == 1


async def test_a_daemon_that_restarts_during_a_jump_holds_on(
    machine: Machine, any_database: Database, reasons: Reasons
) -> None:
    machine.jumped = DAY
    await machine.check.settle()
    await machine.start(any_database)
    assert machine.off == timedelta()
    assert len(await reasons()) == 1


async def test_a_reboot_that_sets_the_clock_far_ahead_is_not_followed(
    tmp_path: Path, reasons: Reasons, machine: Machine, any_database: Database
) -> None:
    machine.reboot(timedelta(minutes=10))
    machine.jumped = DAY
    await machine.start(any_database)
    assert machine.off <= -timedelta(minutes=10), "time goes on from the last that is known"
    assert len(await reasons()) == 1


async def test_a_reboot_is_no_jump(
    machine: Machine, any_database: Database, reasons: Reasons
) -> None:
    machine.reboot(LONGEST_REBOOT - timedelta(minutes=1))
    await machine.start(any_database)
    assert machine.off == timedelta()
    # PostgreSQL's clock has not been turned here, and so differs.
    assert [reason for reason in await reasons() if "clock of host-1" in reason] == []
    async with any_database.read() as session:
        boots = {row.boot_id for row in await session.exec(select(HostClock))}
    assert machine.host.boot_id in boots


async def test_an_operator_accepts_the_new_time(
    machine: Machine, any_database: Database, reasons: Reasons
) -> None:
    assert await accept_clock(any_database, machine.host) == "", "nothing is wrong"
    machine.jumped = -DAY
    await machine.check.settle()
    (reason,) = await reasons()
    assert await accept_clock(any_database, machine.host) == reason
    await machine.check.settle()
    assert machine.off == -DAY
    if any_database.is_sqlite:
        assert await reasons() == []
    async with any_database.read() as session:
        events = (await session.exec(select(AuditEvent))).all()
    assert [(event.action, event.subject) for event in events] == [("clock.accept", "host-1")]


async def test_of_two_hosts_the_one_with_the_wrong_clock_holds(
    machine: Machine, other: Database, reasons: Reasons
) -> None:
    second = Machine("host-2")
    await second.start(other)
    second.jumped = DAY
    await second.check.settle()
    await machine.check.settle()
    assert (machine.off, second.off) == (timedelta(), timedelta())
    (reason,) = await reasons()
    assert "host-2" in reason
    assert "host-1" not in reason


async def test_of_two_hosts_with_wrong_clocks_both_hold_and_one_incident_names_both(
    machine: Machine, other: Database, reasons: Reasons
) -> None:
    second = Machine("host-2")
    await second.start(other)
    machine.jumped, second.jumped = DAY, -DAY
    await machine.check.settle()
    await second.check.settle()
    assert (machine.off, second.off) == (timedelta(), timedelta())
    (reason,) = await reasons()
    assert "host-1" in reason
    assert "host-2" in reason
    machine.jumped = timedelta()
    await machine.check.settle()
    (reason,) = await reasons()
    assert "host-1" not in reason


async def test_a_host_whose_clock_differs_from_the_databases_is_reported(
    postgresql_database: Database,
) -> None:
    machine = Machine()
    machine.turn(seconds=120)
    await machine.start(postgresql_database)
    async with postgresql_database.read() as session:
        (incident,) = (await session.exec(select(Incident))).all()
    assert "the database's clock is 0:02:00 behind the time that host-1 keeps" in incident.reason
    assert "ironlease accept-clock" in incident.next_action


@pytest.mark.parametrize("jump", [DAY, -DAY, 365 * DAY])
async def test_a_jump_ends_no_lease_until_an_operator_accepts_it(
    any_database: Database, machine: Machine, tmp_path: Path, jump: timedelta
) -> None:
    world = World(any_database, tmp_path, clock=machine)
    await world.enrol()
    await world.settle()
    reservation = await world.reserve(hours=2)
    await world.settle()
    assert await world.state() is State.LEASED
    machine.jumped = jump
    await machine.check.settle()
    await world.passes(5, seconds=60)
    assert await world.state() is State.LEASED
    (lease,) = await world.leases(reservation)
    assert lease.ended_at is None
    if jump > timedelta():
        assert await accept_clock(any_database, machine.host)
        await machine.check.settle()
    else:
        await world.turn(hours=2)
    await world.passes(5, seconds=60)
    (lease,) = await world.leases(reservation)
    assert lease.ended_at is not None
