"""The ramdisk exchanges its boot token for its identity, and reports that it is ready."""

import hmac
import logging
from datetime import datetime

from aiohttp import web
from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from agent.protocol import RAMDISK, AgentConfig, Identity, IdentityRequest, Ready
from provisioner.domain.access import Actor
from provisioner.service.context import Services, services_of
from provisioner.service.http.bearer import bearer, unknown_agent
from provisioner.service.http.messages import read_message
from provisioner.service.http.problems import HttpError
from provisioner.store import audit
from provisioner.store.database import call_attention
from provisioner.store.secrets import token_hash
from provisioner.store.tables import AgentIdentity, Boot, Server

_LOG = logging.getLogger(__name__)


async def exchange(request: web.Request) -> web.Response:
    """`POST /boot/identity`: of any number of requesters with one token, one gets the identity. It
    gets the same one again if it repeats its request, as the answer may have been lost."""
    services = services_of(request)
    asked = await read_message(request, IdentityRequest)
    now = services.clock()
    async with services.database.write() as session:
        boot, server = await _boot_of(session, asked)
        agent_token = services.secret_box.open(boot.agent_token_secret)
        host_key = services.secret_box.open(boot.host_key_secret)
        # Lock the server before the boot, as the reconciler does: two orders could deadlock.
        await call_attention(session, server.id)
        if await _spend(session, boot, asked, now):
            session.add(
                AgentIdentity(
                    server_id=server.id,
                    boot_id=boot.id,
                    token_hash=token_hash(agent_token),
                    issued_at=now,
                )
            )
            action = "boot.identified"
        elif await _may_repeat(session, boot, asked, now):
            action = "boot.identified_again"
        else:
            raise _refused(
                "spent_boot_token", "the boot token has been used, or its window has closed"
            )
        actor = Actor.ramdisk_agent(server.id)
        audit.record(session, actor, action, server.id, now, boot=boot.id)
    identity = Identity(
        server=server.id,
        hostname=server.name,
        ssh_host_key=host_key,
        authorized_key=services.authorized_key,
        agent=_agent_config(services, server, agent_token),
    )
    return web.Response(
        text=identity.to_json(),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _agent_config(services: Services, server: Server, token: str) -> AgentConfig:
    return AgentConfig(
        url=services.machine_url,
        server=server.id,
        token=token,
        context=RAMDISK,
        interval_s=services.report_interval_s,
        grant=None,
    )


async def _boot_of(session: AsyncSession, asked: IdentityRequest) -> tuple[Boot, Server]:
    """The boot that the token is for, and its server, which must be the requester."""
    found = await session.exec(
        select(Boot, Server)
        .join(Server, col(Server.id) == col(Boot.server_id))
        .where(Boot.token_hash == token_hash(asked.token))
    )
    row = found.one_or_none()
    if row is None:
        raise _refused("unknown_boot_token", "the boot token is unknown")
    boot, server = row
    if asked.mac.lower() != server.boot_mac or asked.serial != server.serial:
        _LOG.warning(
            "a machine with MAC %r and serial %r holds the boot token of %s (%s, %s)",
            asked.mac,
            asked.serial,
            server.name,
            server.boot_mac,
            server.serial,
        )
        raise _refused(
            "other_machine",
            f"the boot token was issued to a machine with another MAC or serial than "
            f"{asked.mac}, {asked.serial}",
        )
    return boot, server


async def _spend(session: AsyncSession, boot: Boot, asked: IdentityRequest, now: datetime) -> bool:
    """Spend the boot's token; return whether it was still unspent and valid."""
    spent = await session.exec(
        update(Boot)
        .where(
            col(Boot.id) == boot.id,
            col(Boot.identified_at).is_(None),
            col(Boot.closed_at).is_(None),
            col(Boot.expires_at) > now,
        )
        .values(identified_at=now, nonce_hash=_nonce_hash(asked))
    )
    return spent.rowcount > 0


async def _may_repeat(
    session: AsyncSession, boot: Boot, asked: IdentityRequest, now: datetime
) -> bool:
    """Whether this is who spent the token: once it is ready, it has its identity."""
    await session.refresh(boot)
    if boot.ready_at is not None or boot.closed_at is not None or boot.expires_at <= now:
        return False
    return bool(asked.nonce) and hmac.compare_digest(boot.nonce_hash, _nonce_hash(asked))


def _nonce_hash(asked: IdentityRequest) -> str:
    return token_hash(asked.nonce) if asked.nonce else ""


def _refused(code: str, reason: str) -> HttpError:
    return HttpError(
        403, code, reason, next_action="boot again: the provisioner opens a new boot window"
    )


async def ready(request: web.Request) -> web.Response:
    """`POST /boot/ready`: the ramdisk's SSH server is listening."""
    services = services_of(request)
    await read_message(request, Ready)
    identity = await _agent_identity(request)
    if identity.boot_id is None:
        raise HttpError(403, "no_ramdisk", "only a ramdisk's agent may report it ready")
    now = services.clock()
    async with services.database.write() as session:
        await call_attention(session, identity.server_id)
        await session.exec(
            update(Boot)
            .where(col(Boot.id) == identity.boot_id, col(Boot.ready_at).is_(None))
            .values(ready_at=now)
        )
    return web.Response(status=204)


async def _agent_identity(request: web.Request) -> AgentIdentity:
    """Return the identity of the request's bearer token, unless it was revoked (401)."""
    async with services_of(request).database.read() as session:
        found = await session.exec(
            select(AgentIdentity).where(
                AgentIdentity.token_hash == token_hash(bearer(request)),
                col(AgentIdentity.revoked_at).is_(None),
            )
        )
        identity = found.one_or_none()
    if identity is None:
        raise unknown_agent()
    return identity
