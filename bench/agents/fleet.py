"""A site of GPU servers whose agents have been reporting for a while: its rows and health.

Four of five serve a tenant, one is in its ramdisk. `load` sends the reports.
"""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import func
from sqlmodel import col, select

from lab.nvml import FakeNvml
from provisioner.domain.health import HEALTHY
from provisioner.domain.lifecycle import State
from provisioner.domain.reservations import ReservationState
from provisioner.store.columns import utc_now
from provisioner.store.database import Database
from provisioner.store.secrets import new_token, token_hash
from provisioner.store.tables import (
    Account,
    AgentIdentity,
    Image,
    Lease,
    Reservation,
    Server,
    ServerClass,
    ServerHealth,
)

TENANTS = 0.8
_LEASE = timedelta(days=30)
_AT_ONCE = 500
_BOOT = "0b6a4f1e-0000-4000-8000-000000000001"
_READ_HEALTH = """
import json
from pathlib import Path
from agent.nvml import Gpus, load
from agent.watch import Watch
watch, gpus = Watch(lambda: None, kernel_log=Path("/nonexistent")), Gpus(load(), lambda call: None)
gpus.read(1000.0)
gpus.read(1060.0)
watch.take(
    {"gpus": gpus.values(), "at": 1060.0, "driver": gpus.driver, "nvml": gpus.version}
)
print(json.dumps(watch.health(), separators=(",", ":")))
"""


class Agent(NamedTuple):
    """The server a simulated agent reports for; without a lease it is in the ramdisk."""

    server: str
    token: str
    lease: str | None


def read_health(folder: Path, gpus: int) -> dict[str, Any]:
    """Return what the agent's own code reads on a server with this many H100s."""
    fake = FakeNvml(folder / "nvml")
    done = subprocess.run(
        [sys.executable, "-c", _READ_HEALTH],
        env={**os.environ, **fake.environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    health: dict[str, Any] = json.loads(done.stdout)
    one, health["gpus"] = health["gpus"][0], []
    for index in range(gpus):
        # Each GPU has its own name, as on a real server.
        health["gpus"].append(
            {**one, "index": index, "uuid": f"GPU-{index:08x}", "pci": f"00000000:{index:02X}:00.0"}
        )
    return health


def report(
    agent: Agent, sequence: int, uptime_s: float, health: dict[str, Any] | None
) -> dict[str, Any]:
    """Return a report as in `agent.protocol.Report`, plus fields of newer agents."""
    return {
        "server": agent.server,
        "context": "tenant" if agent.lease else "ramdisk",
        "boot_id": _BOOT,
        "sequence": sequence,
        "uptime_s": uptime_s,
        "agent_version": "bench",
        "hostname": "bench",
        "lease": {"id": agent.lease, "remaining_s": 1e6, "locked": False} if agent.lease else None,
        "health": health,
        "echo": "",
    }


async def seed(database: Database, count: int, health: dict[str, Any]) -> list[Agent]:
    """Fill an empty, migrated database."""
    now = utc_now()
    account = Account(name="bench", email="bench@example.org")
    image = Image(name="bench", title="bench", digest="00" * 32, size_bytes=1 << 30, boot={})
    kind = ServerClass(
        name="bench", title="8 x H100", price_micro_per_hour=16_000_000, currency="EUR"
    )
    async with database.write() as session:
        session.add_all([account, image, kind])
    agents: list[Agent] = []
    for first in range(0, count, _AT_ONCE):
        async with database.write() as session:
            made = [
                _server(number, account, image, health, now)
                for number in range(first, min(first + _AT_ONCE, count))
            ]
            agents.extend(agent for agent, _ in made)
            for rows in zip(*(rows for _, rows in made), strict=True):
                session.add_all(
                    row for row in rows if row is not None
                )  # one kind at a time, as the next refers to it
                await session.flush()
    return agents


def _server(
    number: int, account: Account, image: Image, health: dict[str, Any], now: datetime
) -> tuple[Agent, tuple[Any, ...]]:
    leased = number % 5 < TENANTS * 5
    address = f"{number >> 8 & 255}.{number & 255}"
    server = Server(
        name=f"bench-{number:05}",
        site="bench",
        rack=f"r{number // 40}",
        class_name="bench",
        serial=f"BENCH{number:05}",
        boot_mac=f"52:54:00:be:{number >> 8:02x}:{number & 255:02x}",
        address=f"10.1.{address}",
        bmc_protocol="ipmi",
        bmc_address=f"10.2.{address}",
        bmc_port=623,
        bmc_username="admin",
        bmc_secret="",
        state=State.LEASED if leased else State.MAINTENANCE,
        due_at=now + _LEASE if leased else None,
    )
    reservation = Reservation(
        account_id=account.id,
        class_name="bench",
        image_id=image.id,
        starts_at=now,
        ends_at=now + _LEASE,
        state=ReservationState.BOUND,
        hostname="bench",
        authorized_keys=["ssh-ed25519 AAAA bench"],
    )
    lease = Lease(
        reservation_id=reservation.id,
        server_id=server.id,
        ends_at=now + _LEASE,
        ready_at=now,
        granted_at=now - _LEASE,
    )
    agent = Agent(server.id, new_token("ilagent"), lease.id if leased else None)
    identity = AgentIdentity(
        server_id=server.id,
        lease_id=agent.lease,
        token_hash=token_hash(agent.token),
        seen_at=now,
        reported_at=now,
        report=report(agent, 1, 1.0, health),
    )
    judged = ServerHealth(
        server_id=server.id,
        level=HEALTHY.level,
        action=HEALTHY.action,
        summary=HEALTHY.summary,
        level_since=now,
        judged_at=now,
        verdict=HEALTHY.to_dict(),
    )
    if not leased:
        return agent, (server, None, None, identity, judged)
    return agent, (server, reservation, lease, identity, judged)


async def unwritten(database: Database, answered: dict[str, tuple[datetime, float]]) -> int:
    """Count the agents whose last reports are not in the database.

    `answered` holds, by server, when the last answered report was sent, and the uptime in the last
    answered health report.
    """
    told = col(AgentIdentity.report)["uptime_s"].as_float()
    async with database.read() as session:
        rows = await session.exec(select(AgentIdentity.server_id, AgentIdentity.seen_at, told))
        kept = {server: (seen_at, uptime_s) for server, seen_at, uptime_s in rows.all()}
        count = (await session.exec(select(func.count()).select_from(AgentIdentity))).one()
    assert count == len(kept)
    missing = 0
    for server, (sent_at, uptime_s) in answered.items():
        seen_at, stored_s = kept[server]
        missing += seen_at is None or seen_at < sent_at or stored_s < uptime_s
    return missing
