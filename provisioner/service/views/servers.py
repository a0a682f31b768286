"""A server as operators see it: its state and the reason, its work and its hardware."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.lifecycle import ALLOWED, RequestVerb, State
from provisioner.service.views.attention import NEEDS_ATTENTION, attention_of
from provisioner.service.views.base import PageQuery, View
from provisioner.service.views.health import HealthView, health_view, verdicts
from provisioner.service.views.incident_marks import IncidentMarks, marks_of
from provisioner.service.views.operations import (
    IncidentView,
    OperationView,
    incident_view,
    operation_view,
)
from provisioner.service.views.requests import RequestView, open_requests_of, request_view
from provisioner.service.views.reservations import LeaseState, lease_state
from provisioner.store.tables import (
    AgentIdentity,
    Disk,
    ErasureCertificate,
    Incident,
    Lease,
    Operation,
    Reservation,
    Server,
    ServerHealth,
    ServerRequest,
)


class BmcView(View, title="Bmc"):
    """How to reach a server's BMC."""

    protocol: str
    """Management protocol: `ipmi`."""
    address: str
    """IP address of the BMC."""
    port: int
    """UDP port of the BMC."""
    username: str
    """User that the provisioner logs in as."""


class ServerLeaseView(View, title="ServerLease"):
    """The open lease of a server."""

    id: str
    """Identifier of the lease."""
    reservation: str
    """Identifier of the reservation."""
    account: str
    """Identifier of the account that leases the server."""
    state: LeaseState
    """Where the lease is in its lifecycle."""
    bound_at: datetime
    """When the server was bound to the reservation."""
    ready_at: datetime | None
    """When the server was handed over. Null until it is ready."""
    ends_at: datetime
    """When access ends."""
    locked_at: datetime | None
    """When the agent reported that it closed access. Null until then."""


class AgentView(View, title="Agent"):
    """The last report of the server's current agent."""

    context: str
    """Where the agent runs: `ramdisk` or `tenant`."""
    seen_at: datetime
    """When the agent last reported."""
    uptime_s: float
    """Seconds since the server booted, as of that report."""


class DiskView(View, title="Disk"):
    """A disk that inspection found in a server."""

    serial: str
    """Serial number."""
    model: str
    """Model name. Empty if unknown."""
    size_bytes: int
    """Capacity in bytes."""
    transport: str
    """How the disk is attached, such as `nvme`."""
    present: bool
    """Whether the last inspection found the disk."""
    sanitised: bool
    """Whether the disk has a certificate newer than the server's last use."""
    certificate: str | None
    """Identifier of the newest erasure certificate. Null if there is none."""


class ServerView(View, title="Server"):
    """A server as operators see it."""

    id: str
    """Identifier of the server."""
    name: str
    """Name of the server."""
    site: str
    """Site that the server is in."""
    rack: str
    """Rack that the server is in."""
    class_: str = Field(alias="class")
    """Class of the server."""
    state: State
    """Where the server is in its lifecycle."""
    state_since: datetime
    """When the server entered the state."""
    seconds_in_state: float
    """Seconds since the server entered the state."""
    needs_attention: bool
    """Whether the server needs an operator: it is quarantined or faulty, its operation is parked,
    or it has an open incident."""
    reason: str
    """Why the server is in this state, does not leave it, or needs an operator. May be empty."""
    next_action: str
    """What an operator should do. Empty if nothing needs to be done."""
    requests: list[RequestView]
    """Open requests, in order."""
    address: str
    """IP address of the server."""
    boot_mac: str
    """MAC address of the network card that the server boots from."""
    serial: str
    """Serial number of the server."""
    bmc: BmcView
    """How to reach the BMC."""
    operation: OperationView | None
    """Operation that is running on the server. Null if there is none."""
    lease: ServerLeaseView | None
    """Open lease. Null if there is none."""
    agent: AgentView | None
    """Current agent. Null until one reports."""
    health: HealthView | None
    """Last verdict. Null until the server is judged for the first time."""
    disks: list[DiskView]
    """All disks ever found in the server."""
    incidents: list[IncidentView]
    """Open incidents."""
    facts: dict[str, Any]
    """Hardware that the last inspection found."""
    expect: dict[str, Any]
    """Hardware that the server should have, from the inventory."""
    last_used_at: datetime
    """When somebody could last have written to the disks."""
    enrolled_at: datetime
    """When the server was enrolled."""
    allowed_requests: list[RequestVerb]
    """What can be requested in the server's state. On a leased server, file the request on its
    reservation."""


class ServerQuery(PageQuery):
    state: State | None = None
    """Only servers in this state."""
    class_: str | None = Field(default=None, alias="class")
    """Only servers of this class."""
    rack: str | None = None
    """Only servers of this rack."""
    needs_attention: bool | None = None
    """True for servers that need an operator only, false for all others only."""


async def servers_by_name(session: AsyncSession, query: ServerQuery) -> Sequence[Server]:
    """Return the servers that match a query, one more than it shows."""
    statement = select(Server).order_by(col(Server.name)).limit(query.fetch)
    if query.state is not None:
        statement = statement.where(Server.state == query.state)
    if query.class_ is not None:
        statement = statement.where(Server.class_name == query.class_)
    if query.rack is not None:
        statement = statement.where(Server.rack == query.rack)
    if query.needs_attention is not None:
        wanted = NEEDS_ATTENTION if query.needs_attention else ~NEEDS_ATTENTION
        statement = statement.where(wanted)
    if query.cursor is not None:
        statement = statement.where(col(Server.name) > query.cursor)
    return (await session.exec(statement)).all()


async def servers_named(session: AsyncSession, names: Sequence[str]) -> Sequence[Server]:
    """Return those of these servers that exist."""
    return (await session.exec(select(Server).where(col(Server.name).in_(names)))).all()


async def count_by_state(session: AsyncSession) -> dict[State, int]:
    found = await session.exec(select(Server.state, func.count()).group_by(col(Server.state)))
    return {State(state): count for state, count in found.all()}


class _Related:
    """The rows that belong to some servers, read in a handful of queries however many there are."""

    def __init__(self) -> None:
        self.operation: dict[str, Operation] = {}
        self.lease: dict[str, tuple[Lease, Reservation]] = {}
        self.agent: dict[str, AgentIdentity] = {}
        self.health: dict[str, ServerHealth] = {}
        self.disks: dict[str, list[Disk]] = {}
        self.certificate: dict[tuple[str, str], ErasureCertificate] = {}
        self.incidents: dict[str, list[Incident]] = {}
        self.requests: dict[str, list[ServerRequest]] = {}
        self.marks = IncidentMarks({}, {})

    async def read(self, session: AsyncSession, ids: Sequence[str]) -> None:
        operations = await session.exec(
            select(Operation).where(
                col(Operation.server_id).in_(ids), col(Operation.ended_at).is_(None)
            )
        )
        self.operation = {row.server_id: row for row in operations.all()}
        leases = await session.exec(
            select(Lease, Reservation)
            .join(Reservation, col(Reservation.id) == col(Lease.reservation_id))
            .where(col(Lease.server_id).in_(ids), col(Lease.ended_at).is_(None))
        )
        self.lease = {lease.server_id: (lease, booked) for lease, booked in leases.all()}
        agents = await session.exec(
            select(AgentIdentity)
            .where(
                col(AgentIdentity.server_id).in_(ids),
                col(AgentIdentity.revoked_at).is_(None),
                col(AgentIdentity.seen_at).is_not(None),
            )
            .order_by(col(AgentIdentity.seen_at))
        )
        self.agent = {row.server_id: row for row in agents.all()}
        self.health = await verdicts(session, ids)
        disks = await session.exec(
            select(Disk).where(col(Disk.server_id).in_(ids)).order_by(col(Disk.serial))
        )
        for disk in disks.all():
            self.disks.setdefault(disk.server_id, []).append(disk)
        await self._read_certificates(session, ids)
        self.requests = await open_requests_of(session, ids)
        incidents = await session.exec(
            select(Incident)
            .where(col(Incident.server_id).in_(ids), col(Incident.closed_at).is_(None))
            .order_by(col(Incident.opened_at))
        )
        rows = incidents.all()
        self.marks = await marks_of(session, rows)
        for incident in rows:
            self.incidents.setdefault(str(incident.server_id), []).append(incident)

    async def _read_certificates(self, session: AsyncSession, ids: Sequence[str]) -> None:
        # The newest of each disk only: a server keeps those of all its past tenants.
        newer = (
            select(
                ErasureCertificate,
                func.row_number()
                .over(
                    partition_by=(
                        col(ErasureCertificate.server_id),
                        col(ErasureCertificate.disk_serial),
                    ),
                    order_by=col(ErasureCertificate.finished_at).desc(),
                )
                .label("place"),
            )
            .where(col(ErasureCertificate.server_id).in_(ids))
            .subquery()
        )
        newest = await session.exec(
            select(ErasureCertificate)
            .join(newer, newer.c.id == col(ErasureCertificate.id))
            .where(newer.c.place == 1)
        )
        self.certificate = {(row.server_id, row.disk_serial): row for row in newest.all()}


async def server_views(
    session: AsyncSession, servers: Sequence[Server], now: datetime
) -> list[ServerView]:
    related = _Related()
    await related.read(session, [server.id for server in servers])
    return [_view(server, related, now) for server in servers]


def _view(server: Server, related: _Related, now: datetime) -> ServerView:
    operation = related.operation.get(server.id)
    incidents = related.incidents.get(server.id, [])
    health = related.health.get(server.id)
    need = attention_of(server, operation, incidents, health)
    return ServerView(
        id=server.id,
        name=server.name,
        site=server.site,
        rack=server.rack,
        class_=server.class_name,
        state=server.state,
        state_since=server.state_since,
        seconds_in_state=round((now - server.state_since).total_seconds(), 3),
        needs_attention=need is not None,
        reason=need.reason if need else server.reason,
        next_action=need.next_action if need else server.next_action,
        requests=[request_view(row, server.name) for row in related.requests.get(server.id, [])],
        address=server.address,
        boot_mac=server.boot_mac,
        serial=server.serial,
        bmc=BmcView(
            protocol=server.bmc_protocol,
            address=server.bmc_address,
            port=server.bmc_port,
            username=server.bmc_username,
        ),
        operation=operation_view(operation, server.name) if operation else None,
        lease=_lease(related.lease.get(server.id), now),
        agent=_agent(related.agent.get(server.id)),
        health=health_view(health, server, _reported(related.agent.get(server.id))),
        disks=[
            _disk(disk, server, related.certificate.get((server.id, disk.serial)))
            for disk in related.disks.get(server.id, [])
        ],
        incidents=[incident_view(incident, server.name, related.marks) for incident in incidents],
        facts=server.facts,
        expect=server.expect,
        last_used_at=server.last_used_at,
        enrolled_at=server.enrolled_at,
        allowed_requests=sorted(ALLOWED[server.state]),
    )


def _lease(found: tuple[Lease, Reservation] | None, now: datetime) -> ServerLeaseView | None:
    if found is None:
        return None
    lease, reservation = found
    return ServerLeaseView(
        id=lease.id,
        reservation=reservation.id,
        account=reservation.account_id,
        state=lease_state(lease, now),
        bound_at=lease.bound_at,
        ready_at=lease.ready_at,
        ends_at=lease.ends_at,
        locked_at=lease.locked_at,
    )


def _agent(row: AgentIdentity | None) -> AgentView | None:
    if row is None or row.seen_at is None:
        return None
    return AgentView(
        context=str(row.report.get("context", "")),
        seen_at=row.seen_at,
        uptime_s=float(row.report.get("uptime_s", 0)),
    )


def _reported(agent: AgentIdentity | None) -> dict[str, Any]:
    """Return the health in the agent's newest report."""
    return (agent.report.get("health") or {}) if agent else {}


def _disk(disk: Disk, server: Server, certificate: ErasureCertificate | None) -> DiskView:
    return DiskView(
        serial=disk.serial,
        model=disk.model,
        size_bytes=disk.size_bytes,
        transport=disk.transport,
        present=disk.present,
        # Begun after the last use: an erasure under way then would not cover it.
        sanitised=certificate is not None and certificate.started_at >= server.last_used_at,
        certificate=certificate.id if certificate else None,
    )
