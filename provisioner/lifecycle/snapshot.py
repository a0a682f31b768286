"""A server's current rows, and the facts that the rules decide on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health import Finding, Verdict, is_believed, unfit
from provisioner.domain.lifecycle import RUNS, State
from provisioner.domain.transitions import Facts
from provisioner.fleet.requests import head, open_requests
from provisioner.incidents import breaker_is_open
from provisioner.rental.reservations import lease_on
from provisioner.rental.unverified_faults import unverified_quarantines
from provisioner.store.tables import (
    AgentIdentity,
    Boot,
    Disk,
    ErasureCertificate,
    Image,
    Lease,
    Operation,
    Reservation,
    Server,
    ServerClass,
    ServerHealth,
    ServerRequest,
)

SILENCE = timedelta(seconds=90)
"""A waiting ramdisk that has not reported for this long counts as lost."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    server: Server
    server_class: ServerClass
    disks: tuple[Disk, ...]
    """The disks that are present."""
    certificates: dict[str, ErasureCertificate]
    """Certificates newer than the server's last use, by disk serial."""
    requested: ServerRequest | None
    """The request to carry out first."""
    operation: Operation | None
    """The operation that the state runs, or that carries out a request."""
    request: ServerRequest | None
    """The request that this operation carries out."""
    boot: Boot | None
    """The open ramdisk boot."""
    lease: Lease | None
    reservation: Reservation | None
    image: Image | None
    """The reservation's image; in maintenance, the one that an operator requested."""
    agent: AgentIdentity | None
    """The unrevoked identity of the open boot, or else of the lease."""
    verdict: Verdict | None
    """The last verdict on its health; None since a repair."""
    fault: Finding | None
    """The finding that forbids the next lease; None while the circuit breaker is open."""
    unverified_quarantines: tuple[datetime, ...]
    """If only a tenant reported it: when other servers of the account were quarantined so."""

    @property
    def sanitised(self) -> bool:
        return bool(self.disks) and all(disk.serial in self.certificates for disk in self.disks)

    def agent_seen_at(self) -> datetime | None:
        return self.agent.seen_at if self.agent else None

    def facts(self, now: datetime, watching_since: datetime) -> Facts:
        """Return the facts for the transition table.

        Silence counts from `watching_since` at the earliest, as nobody listened before, and from
        when the server entered its state.
        """
        lease, fault = self.lease, self.fault
        believed = is_believed(self.unverified_quarantines, now)
        heard = max(filter(None, (self.agent_seen_at(), watching_since, self.server.state_since)))
        return Facts(
            operation=self.operation.state if self.operation else None,
            sanitised=self.sanitised,
            lease_open=lease is not None,
            lease_over=lease is not None and lease.ends_at <= now,
            ramdisk_silent=self.server.state is State.AVAILABLE and now - heard > SILENCE,
            # During preparation, reports of the tenant's system do not move the lease.
            faulty=fault is not None
            and believed
            and (self.server.state is not State.IMAGING or self.boot is not None),
            doubted=not believed,
            bmc_lost=self.server.bmc_lost_at is not None,
            requested=self.requested.verb if self.requested else None,
        )


async def load(session: AsyncSession, server_id: str) -> Snapshot:
    """Read everything about one server."""
    server = await session.get_one(Server, server_id)
    server_class = await session.get_one(ServerClass, server.class_name)
    disks = await session.exec(
        select(Disk)
        .where(Disk.server_id == server_id, col(Disk.present))
        .order_by(col(Disk.serial))
    )
    certificates = await session.exec(
        select(ErasureCertificate)
        .where(
            ErasureCertificate.server_id == server_id,
            col(ErasureCertificate.started_at) >= server.last_used_at,
        )
        .order_by(col(ErasureCertificate.finished_at))
    )
    lease = await lease_on(session, server_id)
    reservation = await session.get(Reservation, lease.reservation_id) if lease else None
    operation = await _operation(session, server)
    on_request = operation.request_id if operation else None
    request = await session.get(ServerRequest, on_request) if on_request else None
    requested = head(server.state, await open_requests(session, server_id))
    boot = (
        await session.exec(
            select(Boot)
            .where(Boot.server_id == server_id, col(Boot.closed_at).is_(None))
            .order_by(col(Boot.opened_at).desc(), col(Boot.id).desc())
            .limit(1)
        )
    ).one_or_none()
    agent = await _agent(session, server, boot)
    health = await session.get(ServerHealth, server_id)
    verdict = Verdict.from_dict(health.verdict) if health else None
    fault = await _fault(session, verdict, agent)
    return Snapshot(
        server=server,
        server_class=server_class,
        disks=tuple(disks.all()),
        certificates={c.disk_serial: c for c in certificates.all()},
        requested=requested,
        operation=operation,
        request=request,
        boot=boot,
        lease=lease,
        reservation=reservation,
        image=await _image(session, reservation, request),
        agent=agent,
        verdict=verdict,
        fault=fault,
        unverified_quarantines=await unverified_quarantines(session, fault.lease_id)
        if fault and fault.by_tenant
        else (),
    )


async def _fault(
    session: AsyncSession, verdict: Verdict | None, agent: AgentIdentity | None
) -> Finding | None:
    if verdict is None:
        return None
    found = unfit(verdict, agent.report.get("boot_id") if agent else None)
    return None if found is None or await breaker_is_open(session) else found


async def _operation(session: AsyncSession, server: Server) -> Operation | None:
    verb = RUNS.get(server.state)
    if verb is None:
        running = await session.exec(
            select(Operation).where(
                Operation.server_id == server.id, col(Operation.ended_at).is_(None)
            )
        )
        return running.one_or_none()
    found = await session.exec(
        select(Operation)
        .where(
            Operation.server_id == server.id,
            Operation.verb == verb,
            col(Operation.started_at) >= server.state_since,
        )
        .order_by(col(Operation.started_at).desc(), col(Operation.id).desc())
        .limit(1)
    )
    return found.one_or_none()


async def _image(
    session: AsyncSession, reservation: Reservation | None, request: ServerRequest | None
) -> Image | None:
    wanted = request.arguments.get("image_id") if request else None
    wanted = wanted or (reservation.image_id if reservation else None)
    return await session.get(Image, wanted) if wanted else None


async def _agent(session: AsyncSession, server: Server, boot: Boot | None) -> AgentIdentity | None:
    """Return the ramdisk's identity while its boot is open, otherwise the tenant system's."""
    query = select(AgentIdentity).where(
        AgentIdentity.server_id == server.id, col(AgentIdentity.revoked_at).is_(None)
    )
    if boot is not None:
        query = query.where(AgentIdentity.boot_id == boot.id)
    else:
        query = query.where(col(AgentIdentity.lease_id).is_not(None))
    found = await session.exec(query.order_by(col(AgentIdentity.issued_at).desc()).limit(1))
    return found.one_or_none()
