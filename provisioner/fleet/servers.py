"""Operators' changes to one server: retry an operation, set BMC credentials."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor, Permission
from provisioner.domain.lifecycle import OperationState
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.drivers.bmc import BmcTarget
from provisioner.store import audit
from provisioner.store.database import call_attention
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import Operation, Server


async def server_named(session: AsyncSession, name: str) -> Server:
    """Load a server by name. Raises :class:`Refusal` (unknown_server)."""
    server = (await session.exec(select(Server).where(Server.name == name))).one_or_none()
    if server is None:
        raise Refusal(
            RefusalKind.NOT_FOUND,
            "unknown_server",
            f"there is no server {name!r}",
            next_action="list the names with GET /v1/servers",
        )
    return server


async def retry(session: AsyncSession, name: str, *, actor: Actor, now: datetime) -> Server:
    """Retry a parked operation now.

    Raises :class:`Refusal` (unknown_server, nothing_parked).
    """
    actor.require(Permission.OPERATE)
    server = await server_named(session, name)
    resumed = await session.exec(
        update(Operation)
        .where(
            col(Operation.server_id) == server.id,
            col(Operation.ended_at).is_(None),
            col(Operation.state) == OperationState.PARKED,
        )
        .values(state=OperationState.RUNNING, attempt=0)
    )
    if resumed.rowcount == 0:
        raise Refusal(
            RefusalKind.CONFLICT,
            "nothing_parked",
            f"no operation of {name} is parked",
            next_action="check the server's state and reason to see what it is waiting for",
        )
    await call_attention(session, server.id)
    audit.record(session, actor, "server.retry", server.id, now)
    return server


async def set_bmc(
    session: AsyncSession,
    name: str,
    secret_box: SecretBox,
    *,
    username: str,
    password: str,
    address: str | None,
    port: int | None,
    actor: Actor,
    now: datetime,
) -> Server:
    """Change how the server's BMC is reached.

    Raises :class:`Refusal` (unknown_server, bmc_address_taken).
    """
    actor.require(Permission.OPERATE)
    server = await server_named(session, name)
    server.bmc_username = username
    take_bmc_password(server, secret_box.seal(password))
    server.bmc_address = address or server.bmc_address
    server.bmc_port = port or server.bmc_port
    place = f"{server.bmc_address}:{server.bmc_port}"
    try:
        await session.flush()
    except IntegrityError as error:
        raise Refusal(
            RefusalKind.CONFLICT,
            "bmc_address_taken",
            f"another server's BMC has the address {place}",
            faults=(Fault("/address", "belongs to another server's BMC"),),
        ) from error
    await call_attention(session, server.id)
    audit.record(session, actor, "server.set_bmc", server.id, now, username=username, place=place)
    return server


def bmc_target(server: Server, secret_box: SecretBox) -> BmcTarget:
    """Return the address of the server's BMC, with its password unsealed."""
    return BmcTarget(
        server=server.name,
        protocol=server.bmc_protocol,
        address=server.bmc_address,
        port=server.bmc_port,
        username=server.bmc_username,
        password=secret_box.open(server.bmc_secret),
        next_password=secret_box.open(server.bmc_next_secret) if server.bmc_next_secret else "",
    )


def take_bmc_password(server: Server, sealed: str) -> None:
    """Store a password that a person entered; it replaces all others stored for the BMC."""
    server.bmc_secret = sealed
    server.bmc_next_secret = server.bmc_enrolled_secret = ""
    server.bmc_lost_at = None
