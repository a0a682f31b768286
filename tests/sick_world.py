"""A world in which servers are told to be sick, and are judged while time passes."""

from typing import Any

from sqlmodel import col, select
from world import CUSTOMER, OPERATOR, World

from lab.simulated import RAMDISK, TENANT
from provisioner.domain.health import Verdict
from provisioner.domain.lifecycle import State
from provisioner.domain.refusals import Refusal
from provisioner.rental.swap import swap
from provisioner.store.tables import (
    HealthFinding,
    HealthSample,
    Incident,
    Outage,
    Reservation,
    Server,
    ServerHealth,
)

HUNG_DISKS = {"state": "absent", "hardware_hung": True}
"""Asks for a reboot; read in the ramdisk as well."""
DEAD_DISK = {
    "state": "absent",
    "disks": [{"name": "nvme0", "state": "dead", "critical_warning": 4}],
}
"""Asks for a person, whoever looks."""
SOUND_DISK = {
    "state": "absent",
    "disks": [{"name": "nvme0", "state": "live", "critical_warning": 0}],
}
WELL = {"state": "absent"}


def gpu(**signals: Any) -> dict[str, Any]:
    """The health of a tenant's system with one GPU."""
    return {
        "state": "ok",
        "gpus": [{"index": 0, "uuid": "GPU-0", "pci": "0000:1b:00.0", **signals}],
        "events": [],
    }


LOST_ROW = gpu(remap_failure=True)
"""Asks for another GPU."""
PENDING_ROW = gpu(remap_pending=True)
"""Mended by a reset."""
REBOOT_ME = gpu(recovery_action=2)


class SickWorld:
    def __init__(self, world: World) -> None:
        self.world = world

    async def tell(self, health: dict[str, Any], number: int = 0) -> None:
        """What the agent that runs on a server tells from now on."""
        machine = self.world.machine(number)
        self.world.link.health[machine.id, machine.running] = health
        await self.world.rack.report(machine)

    def shows(self, health: dict[str, Any], number: int = 0) -> None:
        """What our ramdisk reads on a server from now on."""
        self.world.link.health[self.world.machine(number).id, RAMDISK] = health

    async def heal(self, number: int = 0) -> None:
        machine = self.world.machine(number)
        for context in (RAMDISK, TENANT):
            self.world.link.health.pop((machine.id, context), None)
        await self.world.rack.report(machine)

    async def pass_time(self, turns: int = 6, seconds: float = 20) -> None:
        """Reports, judgements and passes of the reconciler."""
        for _ in range(turns):
            await self.world.turn(seconds=seconds)
            await self.world.judge.settle()
            await self.world.reconciler.settle()

    async def lease(self, hours: float = 10) -> Reservation:
        reservation = await self.world.reserve(hours=hours)
        await self.world.settle()
        assert State.LEASED in [server.state for server in await self.world.servers()]
        return reservation

    async def swap(self, reservation: Reservation, *, by_operator: bool = False) -> None:
        async with self.world.database.write() as session:
            actor = OPERATOR if by_operator else CUSTOMER
            await swap(session, reservation.id, actor=actor, now=self.world.clock())

    async def leave(self, reservation_id: str, *, swap: bool) -> None:
        """Give a server back, or have it swapped if there is another."""
        async with self.world.database.read() as session:
            reservation = await session.get_one(Reservation, reservation_id)
        if not swap:
            return await self.world.release(reservation)
        try:
            await self.swap(reservation, by_operator=True)
        except Refusal as refused:
            assert refused.code in ("no_capacity", "nothing_to_swap")

    async def outages(self) -> list[Outage]:
        async with self.world.database.read() as session:
            return list((await session.exec(select(Outage))).all())

    async def findings(self) -> list[HealthFinding]:
        async with self.world.database.read() as session:
            return list((await session.exec(select(HealthFinding))).all())

    async def samples(self) -> list[HealthSample]:
        async with self.world.database.read() as session:
            query = select(HealthSample).order_by(col(HealthSample.at))
            return list((await session.exec(query)).all())

    async def verdict(self, number: int = 0) -> Verdict | None:
        server = await self.world.server(number)
        async with self.world.database.read() as session:
            row = await session.get(ServerHealth, server.id)
            return Verdict.from_dict(row.verdict) if row else None

    async def kinds(self) -> list[str]:
        return sorted(incident.kind for incident in await self.world.incidents())

    async def incident(self, kind: str) -> Incident:
        (found,) = [i for i in await self.world.incidents() if i.kind == kind]
        return found

    async def numbered(self, reservation: Reservation) -> int:
        """Which server has the newest lease of a reservation."""
        lease = (await self.world.leases(reservation))[-1]
        servers: list[Server] = await self.world.servers()
        return [server.id for server in servers].index(lease.server_id)
