"""What one daemon revokes or grants, another one picks up, whatever their clocks say."""

from dataclasses import replace
from datetime import timedelta

import pytest
from service_factories import Clock, Factory

from provisioner.domain.access import Actor, Role
from provisioner.domain.lifecycle import State
from provisioner.lifecycle.identities import revoke_identities
from provisioner.rental.leases import set_end
from provisioner.rental.reservations import release
from provisioner.service.agents.ingest import Ingest
from provisioner.store.database import Database
from provisioner.store.secrets import token_hash
from provisioner.store.tables import Lease

APART = [-120, 0, 120]
OPERATOR = Actor.account("acc_operator", Role.OPERATOR)


class Site:
    """One leased server; the daemon that changes it, and another one with a clock of its own."""

    def __init__(self, make: Factory, other: Database, apart_s: float) -> None:
        self.make = make
        self.database = make.services.database
        self.clock = make.services.clock
        other_clock = Clock()
        other_clock.turn(seconds=apart_s)
        self.other = Ingest(other, other_clock)

    async def begin(self) -> None:
        await self.make.server_class()
        account, _ = await self.make.account("Ada")
        self.server = await self.make.server(1, State.LEASED)
        self.lease = await self.make.lease(self.server, account, lasts=timedelta(hours=1))
        _, token = await self.make.agent(self.server, lease=self.lease)
        self.token_hash = token_hash(token)
        await self.other.settle()
        assert await self.link() is not None

    async def link(self):
        return await self.other.links.find(self.token_hash)

    async def bystander(self, number: int) -> None:
        """Something else changes, and the other daemon sees it."""
        server = await self.make.server(number)
        _, token = await self.make.agent(server)
        assert await self.other.links.find(token_hash(token)) is not None
        async with self.database.write() as session:
            await revoke_identities(session, server.id, now=self.clock())
        await self.other.settle()
        assert await self.other.links.find(token_hash(token)) is None


@pytest.fixture(params=APART)
async def site(any_database, services, request):
    other = Database(str(any_database.url.render_as_string(hide_password=False)))
    site = Site(Factory(replace(services, database=any_database)), other, request.param)
    await site.begin()
    yield site
    await other.close()


async def test_a_revoked_identity_is_refused_by_the_other_daemon(site):
    async with site.database.write() as session:
        await revoke_identities(session, site.server.id, now=site.clock())
    await site.other.settle()
    assert await site.link() is None


async def test_an_extension_reaches_the_agent_of_the_other_daemon(site):
    link = await site.link()
    link.changed.clear()
    async with site.database.write() as session:
        lease = await session.get_one(Lease, site.lease.id)
        set_end(lease, lease.ends_at + timedelta(hours=1), site.clock())
    await site.other.settle()
    assert link.changed.is_set()
    assert link.lease.ends_at == site.lease.ends_at + timedelta(hours=1)


async def test_a_release_reaches_the_agent_of_the_other_daemon(site):
    async with site.database.write() as session:
        await release(session, site.lease.reservation_id, actor=OPERATOR, now=site.clock())
    await site.other.settle()
    assert (await site.link()).lease.ends_at == site.clock()


async def test_a_daemon_that_was_cut_off_for_long_misses_nothing(site):
    async with site.database.write() as session:
        await revoke_identities(session, site.server.id, now=site.clock())
    site.clock.turn(hours=2)
    site.other.clock.turn(hours=2)
    await site.other.settle()
    assert await site.link() is None


async def test_what_commits_late_is_not_missed(postgresql_database, services):
    """Others began later, committed earlier, and were seen for longer than any margin."""
    other = Database(str(postgresql_database.url.render_as_string(hide_password=False)))
    site = Site(Factory(replace(services, database=postgresql_database)), other, 0)
    await site.begin()
    link = await site.link()
    async with site.database.write() as session:
        await revoke_identities(session, site.server.id, now=site.clock())
        for number in range(2, 42):
            await site.bystander(number)
        assert await site.link() is link
    await site.other.settle()
    assert await site.link() is None
    await other.close()


async def test_numbers_of_another_database_server_hide_nothing(postgresql_database, services):
    """A backup was restored into a PostgreSQL that is younger: its numbers are lower."""
    other = Database(str(postgresql_database.url.render_as_string(hide_password=False)))
    site = Site(Factory(replace(services, database=postgresql_database)), other, 0)
    await site.begin()
    async with site.database.write() as session:
        (await session.get_one(Lease, site.lease.id)).changed_in = 1 << 60
    await site.bystander(2)
    link = await site.link()
    link.changed.clear()
    await site.other.settle()
    assert not link.changed.is_set(), "the old change is not read each time"
    await test_a_revoked_identity_is_refused_by_the_other_daemon(site)
    await other.close()
