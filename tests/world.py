"""A small world for the lifecycle tests: a database, simulated servers, a clock to turn."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from small_daemon import small_daemon
from sqlmodel import col, select

from lab.simulated import SimulatedRack, SimulatedServer, numbered_servers, simulated_drivers
from provisioner.catalogue.images import image_named
from provisioner.domain.access import Actor, Role
from provisioner.domain.lifecycle import RequestVerb, State
from provisioner.domain.reservations import ReservationState
from provisioner.domain.sanitisation import SanitisationLevel
from provisioner.drivers.plays import Plays
from provisioner.fleet import requests as fleet_requests
from provisioner.fleet.requests import Installation
from provisioner.health.judge import Judge
from provisioner.lifecycle.reconciler import Reconciler
from provisioner.lifecycle.snapshot import Snapshot, load
from provisioner.rental import booking
from provisioner.rental import requests as rental_requests
from provisioner.rental.reservations import lease_on, release
from provisioner.store.database import Database, call_attention
from provisioner.store.secrets import SecretBox, token_hash
from provisioner.store.tables import (
    Account,
    AgentIdentity,
    Boot,
    Image,
    Incident,
    Lease,
    Reservation,
    Server,
    ServerClass,
    ServerRequest,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ1dCBub3QgYSByZWFsIGtleSwgYnV0IGF0IGFsbCEh customer"
CLASS = "sim"
CUSTOMER = Actor.account("acc_customer", Role.CUSTOMER)
OPERATOR = Actor.account("acc_operator", Role.OPERATOR)


class Clock:
    """Real time plus what was turned: waiting costs nothing."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def turn(self, **by: float) -> None:
        self.offset += timedelta(**by)


class DirectLink:
    """What a machine asks of the provisioner, answered from the database without HTTP."""

    def __init__(self, database: Database, box: SecretBox, clock: Clock) -> None:
        self._database, self._box, self._clock = database, box, clock
        self.health: dict[tuple[str, str], dict[str, Any]] = {}
        """What agents tell, by server and context; the others do not look."""

    async def boot_token(self, mac: str, serial: str) -> str | None:
        async with self._database.read() as session:
            boot = (
                await session.exec(
                    select(Boot)
                    .join(Server, col(Server.id) == col(Boot.server_id))
                    .where(
                        Server.boot_mac == mac,
                        col(Boot.closed_at).is_(None),
                        col(Boot.identified_at).is_(None),
                        col(Boot.expires_at) > self._clock(),
                    )
                )
            ).one_or_none()
        return self._box.open(boot.token_secret) if boot else None

    async def identify(
        self, token: str, nonce: str, mac: str, serial: str
    ) -> tuple[str, str, str] | None:
        async with self._database.write() as session:
            boot = (
                await session.exec(select(Boot).where(Boot.token_hash == token_hash(token)))
            ).one()
            agent_token = self._box.open(boot.agent_token_secret)
            if boot.closed_at is not None or boot.nonce_hash not in ("", token_hash(nonce)):
                return None
            if boot.identified_at is None:
                boot.identified_at, boot.nonce_hash = self._clock(), token_hash(nonce)
                session.add(
                    AgentIdentity(
                        server_id=boot.server_id,
                        boot_id=boot.id,
                        token_hash=token_hash(agent_token),
                        issued_at=self._clock(),
                    )
                )
            return boot.server_id, boot.host_key, agent_token

    async def ready(self, agent_token: str) -> None:
        async with self._database.write() as session:
            identity = await self._identity(session, agent_token)
            if identity is None:
                return
            boot = await session.get_one(Boot, identity.boot_id)
            boot.ready_at = self._clock()
            await call_attention(session, identity.server_id)

    async def report(self, agent_token: str, server_id: str, context: str) -> None:
        async with self._database.write() as session:
            identity = await self._identity(session, agent_token)
            if identity is None:
                return
            identity.seen_at = identity.reported_at = self._clock()
            identity.report = {
                "boot_id": identity.boot_id or identity.lease_id,
                "context": context,
                "uptime_s": (self._clock() - identity.issued_at).total_seconds(),
                "health": self.health.get((server_id, context)),
            }
            await call_attention(session, identity.server_id)

    async def _identity(self, session: Any, agent_token: str) -> AgentIdentity | None:
        found = await session.exec(
            select(AgentIdentity).where(
                AgentIdentity.token_hash == token_hash(agent_token),
                col(AgentIdentity.revoked_at).is_(None),
            )
        )
        return found.one_or_none()


class World:
    """One provisioner over simulated servers that are enrolled already."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        servers: int = 1,
        clock: Clock | None = None,
        owner: str = "test",
    ) -> None:
        self.database = database
        self.clock = clock or Clock()
        self.box = SecretBox.from_file(folder / "secret.key")
        self.link = DirectLink(database, self.box, self.clock)
        self.rack = SimulatedRack(folder / "rack.json", self.link, numbered_servers(servers))
        daemon = small_daemon(
            folder,
            database,
            self.box,
            drivers=simulated_drivers(self.rack),
            clock=self.clock,
            boot_limit_s=300,
            tenant_boot_limit_s=120,
        )
        context = daemon.context
        self.context = replace(context, limits=replace(context.limits, look_s=0.001))
        self.reconciler = self.new_reconciler(owner)
        self.judge = self.new_judge()

    def new_reconciler(self, owner: str, *, plays: Plays | None = None) -> Reconciler:
        """Another reconciler on the same database, with plays of its own if need be."""
        drivers = replace(self.context.drivers, plays=plays or self.context.drivers.plays)
        return Reconciler(self.database, replace(self.context, drivers=drivers), owner=owner)

    def new_judge(self) -> Judge:
        return Judge(self.database, clock=self.clock)

    async def enrol(self, floor: SanitisationLevel = SanitisationLevel.CLEAR) -> None:
        async with self.database.write() as session:
            session.add(
                ServerClass(
                    name=CLASS,
                    title="Simulated",
                    price_micro_per_hour=1_200_000,
                    currency="EUR",
                    sanitisation_floor=floor,
                )
            )
            session.add(Account(id="acc_customer", name="Customer", email="c@example.org"))
            session.add(
                Image(
                    id="img_1", name="debian-12", title="Debian", digest="d1", size_bytes=1, boot={}
                )
            )
            await session.flush()
            document = self.rack.inventory(CLASS)
            for entry in document["servers"]:
                session.add(
                    Server(
                        name=entry["name"],
                        site="sim",
                        rack="r1",
                        class_name=CLASS,
                        serial=entry["serial"],
                        boot_mac=entry["boot_mac"],
                        address=entry["address"],
                        switch_port=entry["switch_port"],
                        bmc_protocol="ipmi",
                        bmc_address=entry["bmc"]["address"],
                        bmc_port=623,
                        bmc_username="admin",
                        bmc_secret=self.box.seal("secret"),
                        expect=entry["expect"],
                        state_since=self.clock(),
                        last_used_at=self.clock(),
                    )
                )

    async def settle(self, turns: int = 60, seconds: float = 3) -> None:
        """Let time pass until nothing moves any more, or for `turns` pieces of time."""
        before = None
        still = 0
        for _ in range(turns):
            await self.reconciler.settle()
            now = [(s.state, s.reason) for s in await self.servers()]
            still = still + 1 if now == before else 0
            if still >= 3:
                return
            before = now
            await self.turn(seconds=seconds)
            await self.judge.settle()

    async def turn(self, **by: float) -> None:
        """Let time pass; agents report meanwhile."""
        self.clock.turn(**by)
        for machine in self.rack.servers:
            await self.rack.report(machine)

    async def passes(self, count: int, **each: float) -> None:
        """Passes with so much time after each, whether or not anything moves."""
        for _ in range(count):
            await self.reconciler.settle()
            await self.turn(**each)
            await self.judge.settle()

    async def servers(self) -> list[Server]:
        async with self.database.read() as session:
            return list((await session.exec(select(Server).order_by(col(Server.name)))).all())

    async def server(self, number: int = 0) -> Server:
        return (await self.servers())[number]

    async def state(self, number: int = 0) -> State:
        return (await self.server(number)).state

    def machine(self, number: int = 0) -> SimulatedServer:
        return self.rack.servers[number]

    async def snapshot(self, number: int = 0) -> Snapshot:
        server = await self.server(number)
        async with self.database.read() as session:
            return await load(session, server.id)

    async def request(self, verb: RequestVerb, number: int = 0, reason: str = "") -> ServerRequest:
        """File a request as an operator does, or for the customer of a leased server."""
        server = await self.server(number)
        async with self.database.write() as session:
            lease = await lease_on(session, server.id)
            if server.state is State.LEASED and lease is not None:
                return await rental_requests.request(
                    session, lease.reservation_id, verb, actor=CUSTOMER, now=self.clock()
                )
            installation = None
            if verb is RequestVerb.IMAGE:
                installation = Installation(await image_named(session, "debian-12"), [KEY])
            return await fleet_requests.request(
                session,
                server.name,
                verb,
                actor=OPERATOR,
                now=self.clock(),
                reason=reason,
                installation=installation,
            )

    async def requests(self) -> list[ServerRequest]:
        async with self.database.read() as session:
            found = await session.exec(select(ServerRequest).order_by(col(ServerRequest.id)))
            return list(found)

    async def filed(self, request_id: str) -> ServerRequest:
        """A request as it is by now."""
        async with self.database.read() as session:
            return await session.get_one(ServerRequest, request_id)

    async def nudge(self, number: int = 0) -> None:
        server = await self.server(number)
        async with self.database.write() as session:
            await call_attention(session, server.id)

    async def reserve(self, hours: float = 1, key: str | None = None) -> Reservation:
        async with self.database.write() as session:
            request = booking.Request(
                class_name=CLASS,
                image="debian-12",
                duration=timedelta(hours=hours),
                ssh_keys=[KEY],
                hostname="train-1",
                account=CUSTOMER.account_id,
                idempotency_key=key,
            )
            return await booking.reserve(session, request, actor=OPERATOR, now=self.clock())

    async def release(self, reservation: Reservation) -> None:
        async with self.database.write() as session:
            await release(session, reservation.id, actor=CUSTOMER, now=self.clock())

    async def reservation_state(self, reservation_id: str) -> ReservationState:
        async with self.database.read() as session:
            return (await session.get_one(Reservation, reservation_id)).state

    async def leases(self, reservation: Reservation | None = None) -> list[Lease]:
        query = select(Lease).order_by(col(Lease.bound_at), col(Lease.id))
        if reservation is not None:
            query = query.where(Lease.reservation_id == reservation.id)
        async with self.database.read() as session:
            return list((await session.exec(query)).all())

    async def incidents(self) -> list[Incident]:
        async with self.database.read() as session:
            return list(
                (
                    await session.exec(select(Incident).where(col(Incident.closed_at).is_(None)))
                ).all()
            )
