"""`POST /agents/report`: an agent says how it is and hears how long its lease goes on."""

from datetime import datetime

from aiohttp import web
from sqlalchemy import update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from agent.protocol import RAMDISK, TENANT, LeaseTerm, Report, ReportAnswer
from provisioner.service.agents.identity import agent_identity
from provisioner.service.messages import read_message
from provisioner.service.problems import HttpError
from provisioner.service.services import services_of
from provisioner.store import audit
from provisioner.store.database import call_attention
from provisioner.store.tables import AgentIdentity, Lease


async def report(request: web.Request) -> web.Response:
    services = services_of(request)
    identity = await agent_identity(request)
    said = await read_message(request, Report)
    _check_sender(identity, said)
    now = services.clock()
    async with services.database.write() as session:
        lease = await session.get(Lease, identity.lease_id) if identity.lease_id else None
        locked = _newly_locked(lease, said)
        if locked or (lease is not None and identity.seen_at is None):
            await call_attention(session, identity.server_id)
        if lease is not None and locked:
            await _note_locked(session, identity.server_id, lease, now)
        await session.exec(
            update(AgentIdentity)
            .where(col(AgentIdentity.id) == identity.id)
            .values(seen_at=now, report=said.to_dict())
        )
    answer = ReportAnswer(
        interval_s=services.report_interval_s,
        lease=LeaseTerm(id=lease.id, remaining_s=_remaining(lease, now)) if lease else None,
    )
    return web.Response(text=answer.to_json(), content_type="application/json")


def _check_sender(identity: AgentIdentity, said: Report) -> None:
    context = TENANT if identity.lease_id else RAMDISK
    if said.server != identity.server_id or said.context != context:
        raise HttpError(
            403,
            "other_agent",
            f"this identity is of the {context} agent of {identity.server_id}",
            next_action="let the agent use the configuration that it was given",
        )


def _newly_locked(lease: Lease | None, said: Report) -> bool:
    if lease is None or said.lease is None or lease.locked_at is not None:
        return False
    return said.lease.id == lease.id and said.lease.locked


async def _note_locked(session: AsyncSession, server_id: str, lease: Lease, now: datetime) -> None:
    await session.exec(
        update(Lease)
        .where(col(Lease.id) == lease.id, col(Lease.locked_at).is_(None))
        .values(locked_at=now)
    )
    audit.record(session, f"agent:{server_id}", "lease.locked", lease.id, now)


def _remaining(lease: Lease, now: datetime) -> float:
    end = lease.ends_at if lease.ended_at is None else now
    return max(0.0, (end - now).total_seconds())
