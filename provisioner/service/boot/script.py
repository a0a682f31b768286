"""Answers a booting machine with an iPXE script; `domain.boot` decides which from the rows."""

import logging

from aiohttp import web
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain import names
from provisioner.domain.boot import BootFacts, BootTarget, boot_target
from provisioner.domain.lifecycle import OperationState, State, Step, Verb
from provisioner.drivers.netboot.ipxe import disk_script, hold_script, ramdisk_script
from provisioner.service.context import Services, services_of
from provisioner.store.database import call_attention
from provisioner.store.tables import Boot, Lease, Operation, Server

_LOG = logging.getLogger(__name__)


async def ipxe(request: web.Request) -> web.Response:
    services = services_of(request)
    script = await _script(
        services, request.query.get("mac", ""), request.query.get("serial", "").strip()
    )
    return web.Response(
        text=script, content_type="text/plain", headers={"Cache-Control": "no-store"}
    )


async def _script(services: Services, mac: str, serial: str) -> str:
    server, boot, facts = await _look_up(services, mac, serial)
    target = boot_target(facts)
    if server is not None and facts is not None and facts.other_serial:
        _LOG.warning(
            "%s asks with the serial %r, not %r: it is held in iPXE; if its board was replaced, "
            "enrol it again",
            server.name,
            serial,
            server.serial,
        )
    if target is BootTarget.RAMDISK and server is not None and boot is not None:
        await _note_asked(services, boot)
        token = services.secret_box.open(boot.token_secret)
        return ramdisk_script(services.machine_url, token, server.boot_mac)
    return disk_script() if target is BootTarget.DISK else hold_script(services.machine_url)


async def _look_up(
    services: Services, mac: str, serial: str
) -> tuple[Server | None, Boot | None, BootFacts | None]:
    """Return the server with this MAC, its open boot window, and the facts for the decision."""
    try:
        mac = names.mac(mac)
    except ValueError:
        return None, None, None
    async with services.database.read() as session:
        found = await session.exec(select(Server).where(Server.boot_mac == mac))
        server = found.one_or_none()
        if server is None:
            return None, None, None
        boot = await _open_window(session, services, server)
        facts = BootFacts(
            state=server.state,
            window_open=boot is not None,
            lease_runs=await _lease_runs(session, services, server),
            at=await _running_step(session, server),
            installed=await _is_installed(session, server),
            other_serial=serial not in ("", server.serial),
        )
    return server, boot, facts


async def _open_window(session: AsyncSession, services: Services, server: Server) -> Boot | None:
    found = await session.exec(
        select(Boot)
        .where(
            Boot.server_id == server.id,
            col(Boot.identified_at).is_(None),
            col(Boot.closed_at).is_(None),
            col(Boot.expires_at) > services.clock(),
        )
        .order_by(col(Boot.id).desc())
        .limit(1)
    )
    return found.one_or_none()


async def _lease_runs(session: AsyncSession, services: Services, server: Server) -> bool:
    leases = await session.exec(
        select(Lease.id).where(
            Lease.server_id == server.id,
            col(Lease.ended_at).is_(None),
            col(Lease.ends_at) > services.clock(),
        )
    )
    return leases.one_or_none() is not None


async def _running_step(session: AsyncSession, server: Server) -> tuple[Verb, Step] | None:
    found = await session.exec(
        select(Operation).where(Operation.server_id == server.id, col(Operation.ended_at).is_(None))
    )
    operation = found.one_or_none()
    return None if operation is None else (operation.verb, operation.step)


async def _is_installed(session: AsyncSession, server: Server) -> bool:
    """Whether the last operation that wrote a whole disk installed an operator's system."""
    if server.state is not State.MAINTENANCE:
        return False
    found = await session.exec(
        select(Operation.verb)
        .where(
            Operation.server_id == server.id,
            col(Operation.verb).in_((Verb.INSTALL, Verb.SANITISE)),
            col(Operation.started_at) >= server.state_since,
            Operation.state == OperationState.DONE,
        )
        .order_by(col(Operation.id).desc())
        .limit(1)
    )
    return found.one_or_none() is Verb.INSTALL


async def _note_asked(services: Services, boot: Boot) -> None:
    if boot.asked_at is not None:
        return
    async with services.database.write() as session:
        await call_attention(session, boot.server_id)
        row = await session.get_one(Boot, boot.id)
        row.asked_at = row.asked_at or services.clock()
