"""Which iPXE script a machine gets: the ramdisk in an open window, its disk, or wait.

Only a server with a window that the provisioner opened is given the ramdisk, and only a lease's
server boots its disk; every other known server is held, so that nothing old on a disk ever runs.
"""

import logging

from aiohttp import web
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain import names
from provisioner.domain.lifecycle import State, Step
from provisioner.drivers.netboot.ipxe import disk_script, hold_script, ramdisk_script
from provisioner.service.context import Services, services_of
from provisioner.store.database import call_attention
from provisioner.store.tables import Boot, Lease, Operation, Server

_LOG = logging.getLogger(__name__)

_PAST_KEXEC = (Step.BOOT_TENANT, Step.AWAIT_TENANT, Step.HAND_OVER)
"""Steps of imaging from which on the disk holds the tenant's system."""


async def ipxe(request: web.Request) -> web.Response:
    services = services_of(request)
    script = await _script(
        services, request.query.get("mac", ""), request.query.get("serial", "").strip()
    )
    return web.Response(
        text=script, content_type="text/plain", headers={"Cache-Control": "no-store"}
    )


async def _script(services: Services, mac: str, serial: str) -> str:
    try:
        mac = names.mac(mac)
    except ValueError:
        return disk_script()
    async with services.database.read() as session:
        server = await _server(session, mac)
        if server is None:
            return disk_script()
        boot = await _open_window(session, services, server)
        to_disk = await _is_tenants(session, services, server)
    if serial and serial != server.serial:
        _LOG.warning(
            "%s asks with the serial %r, not %r: it is held in iPXE; if its board was changed, "
            "enrol it anew",
            server.name,
            serial,
            server.serial,
        )
        return hold_script(services.machine_url)
    if boot is not None:
        await _note_asked(services, boot)
        token = services.secret_box.open(boot.token_secret)
        return ramdisk_script(services.machine_url, token, server.boot_mac)
    return disk_script() if to_disk else hold_script(services.machine_url)


async def _server(session: AsyncSession, mac: str) -> Server | None:
    return (await session.exec(select(Server).where(Server.boot_mac == mac))).one_or_none()


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


async def _is_tenants(session: AsyncSession, services: Services, server: Server) -> bool:
    """Whether its disk holds the system of a lease that goes on."""
    if server.state not in (State.LEASED, State.IMAGING):
        return False
    leases = await session.exec(
        select(Lease.id).where(
            Lease.server_id == server.id,
            col(Lease.ended_at).is_(None),
            col(Lease.ends_at) > services.clock(),
        )
    )
    if leases.one_or_none() is None:
        return False
    if server.state is State.LEASED:
        return True
    steps = await session.exec(
        select(Operation.step).where(
            Operation.server_id == server.id, col(Operation.ended_at).is_(None)
        )
    )
    return steps.one_or_none() in _PAST_KEXEC


async def _note_asked(services: Services, boot: Boot) -> None:
    if boot.asked_at is not None:
        return
    async with services.database.write() as session:
        await call_attention(session, boot.server_id)
        row = await session.get_one(Boot, boot.id)
        row.asked_at = row.asked_at or services.clock()
