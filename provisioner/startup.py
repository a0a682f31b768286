"""What the daemon writes to its log when it has started: a fact a line, and no secret."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url
from sqlmodel import col, func, select

from provisioner.domain.lifecycle import State
from provisioner.settings import Settings
from provisioner.store.database import Database
from provisioner.store.tables import Server

log = logging.getLogger("ironlease")


async def log_start(
    settings: Settings, database: Database, addresses: Sequence[Any], loops: Sequence[str]
) -> None:
    log.info("Ironlease %s started.", version("ironlease"))
    servers = await _servers(database)
    for fact in facts(settings, addresses=addresses, servers=servers, loops=loops):
        log.info("%s", fact)


def facts(
    settings: Settings,
    *,
    addresses: Sequence[Any],
    servers: Mapping[State, int],
    loops: Sequence[str],
) -> Iterator[str]:
    """Yield `name: value` lines; `addresses` are those of the listening sockets."""
    # Not the query: it may hold a password, too.
    yield f"database: {make_url(settings.database_url).set(query={})}"
    yield f"data: {settings.data_dir}, images in {settings.image_dir}"
    yield f"listens on: {', '.join(map(_url, addresses))}"
    yield f"people's URL: {_without_password(settings.public_url)}"
    networks = ", ".join(map(str, settings.machine_networks))
    origin = f"from {networks} only" if networks else "from any network"
    yield f"machines and agents: {_without_password(settings.machine_url)}, {origin}"
    yield f"site: {settings.site or 'all'}"
    yield f"netboot: {_netboot(settings)}"
    yield f"switch: {_switch(settings)}"
    yield f"servers: {_count(servers)}"
    yield f"loops: {', '.join(loops)}"


async def _servers(database: Database) -> dict[State, int]:
    async with database.read() as session:
        found = await session.exec(select(Server.state, func.count()).group_by(col(Server.state)))
        return {State(state): count for state, count in sorted(found)}


def _url(address: Any) -> str:
    if not isinstance(address, tuple):
        return f"unix:{address}"
    host, port = address[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _netboot(settings: Settings) -> str:
    if not settings.netboot_interface:
        return "left to something else; this process serves no DHCP or TFTP"
    return f"DHCP and TFTP on {settings.netboot_interface}, as {settings.provisioning_network}"


def _switch(settings: Settings) -> str:
    if settings.switch_run_dir is None:
        return "none under control; servers share one network"
    return f"Open vSwitch bridge {settings.switch_bridge} ({settings.switch_run_dir})"


def _count(servers: Mapping[State, int]) -> str:
    if not servers:
        return "none enrolled"
    states = ", ".join(f"{count} {state}" for state, count in servers.items())
    return f"{sum(servers.values())} enrolled ({states})"
