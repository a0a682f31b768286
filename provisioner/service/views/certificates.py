"""Erasure certificates of a server, and those from before and after a reservation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.lifecycle import State
from provisioner.domain.sanitisation import SanitisationLevel
from provisioner.service.views.base import PageQuery, View
from provisioner.store.tables import Disk, ErasureCertificate, Lease, Server


class CertificateView(View, title="ErasureCertificate"):
    """Proof that one disk was sanitised and read back."""

    id: str
    """Identifier of the certificate."""
    server: str
    """Name of the server that the disk is in."""
    operation: str
    """Identifier of the operation that sanitised the disk."""
    disk_serial: str
    """Serial number of the disk."""
    method: str
    """How the disk was sanitised, such as `nvme_sanitize_crypto`."""
    level: SanitisationLevel
    """Level that the method reaches."""
    started_at: datetime
    """When sanitisation began."""
    finished_at: datetime
    """When the disk was read back."""
    evidence: dict[str, Any]
    """Attempts, samples read back and tool versions, as recorded during sanitisation."""


class LeaseCertificateView(CertificateView, title="LeaseCertificate"):
    """An erasure certificate from before or after a lease."""

    occasion: Literal["before", "after"]
    """Whether the disk was sanitised before the handover or after the end of the lease."""


class ErasureLeft(NamedTuple):
    """What is still to be erased after a reservation's leases."""

    disks: int
    out_of_service: bool
    """A person has to see to a server before its disks can be erased."""


async def server_certificates(
    session: AsyncSession, server: Server, query: PageQuery
) -> Sequence[ErasureCertificate]:
    """The newest first."""
    statement = (
        select(ErasureCertificate)
        .where(ErasureCertificate.server_id == server.id)
        .order_by(col(ErasureCertificate.id).desc())
        .limit(query.fetch)
    )
    if query.cursor is not None:
        statement = statement.where(col(ErasureCertificate.id) < query.cursor)
    return (await session.exec(statement)).all()


def certificate_view(row: ErasureCertificate, server_name: str) -> CertificateView:
    return CertificateView(**_fields(row, server_name))


def _fields(row: ErasureCertificate, server_name: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "server": server_name,
        "operation": row.operation_id,
        "disk_serial": row.disk_serial,
        "method": row.method,
        "level": row.level,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "evidence": row.evidence,
    }


async def reservation_certificates(
    session: AsyncSession, reservation_id: str
) -> list[LeaseCertificateView]:
    """Return the certificates of every lease of a reservation: those it started with, and those
    made after its end, up to the next tenant."""
    views: list[LeaseCertificateView] = []
    for lease, server in await _leases(session, reservation_id):
        before = await session.exec(
            select(ErasureCertificate)
            .where(col(ErasureCertificate.id).in_(lease.certificates))
            .order_by(col(ErasureCertificate.disk_serial))
        )
        views += [
            LeaseCertificateView(**_fields(row, server.name), occasion="before")
            for row in before.all()
        ]
        views += [
            LeaseCertificateView(**_fields(row, server.name), occasion="after")
            for row in await _after(session, lease)
        ]
    return views


async def erasure_left(session: AsyncSession, reservation_id: str) -> ErasureLeft:
    """Return what is still to be erased after those leases that have ended."""
    disks, out_of_service = 0, False
    for lease, server in await _leases(session, reservation_id):
        if lease.ended_at is None or await _next_bound(session, lease) is not None:
            continue  # no server gets another lease before its disks are erased
        erased = {row.disk_serial for row in await _after(session, lease)}
        present = await session.exec(
            select(Disk.serial).where(Disk.server_id == server.id, col(Disk.present))
        )
        left = set(present.all()) - erased
        disks += len(left)
        out_of_service |= bool(left) and server.state is State.QUARANTINED
    return ErasureLeft(disks, out_of_service)


async def _leases(session: AsyncSession, reservation_id: str) -> Sequence[tuple[Lease, Server]]:
    found = await session.exec(
        select(Lease, Server)
        .join(Server, col(Server.id) == col(Lease.server_id))
        .where(Lease.reservation_id == reservation_id)
        .order_by(col(Lease.bound_at))
    )
    return found.all()


async def _next_bound(session: AsyncSession, lease: Lease) -> datetime | None:
    """Return when the next lease of the same server began."""
    following = await session.exec(
        select(func.min(Lease.bound_at)).where(
            Lease.server_id == lease.server_id,
            Lease.id != lease.id,
            col(Lease.bound_at) >= lease.ended_at,
        )
    )
    return following.one()


async def _after(session: AsyncSession, lease: Lease) -> Sequence[ErasureCertificate]:
    if lease.ended_at is None:
        return ()
    statement = select(ErasureCertificate).where(
        ErasureCertificate.server_id == lease.server_id,
        col(ErasureCertificate.started_at) >= lease.ended_at,
    )
    next_bound = await _next_bound(session, lease)
    if next_bound is not None:
        statement = statement.where(col(ErasureCertificate.started_at) < next_bound)
    return (await session.exec(statement.order_by(col(ErasureCertificate.id)))).all()
