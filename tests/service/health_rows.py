"""Rows about health: reports of GPUs, verdicts, samples of charts, incidents and outages."""

import math
from datetime import datetime, timedelta
from typing import Any

from service_factories import Factory

from provisioner.domain.health import Finding, HealthAction, HealthLevel, Verdict
from provisioner.store.tables import (
    AgentIdentity,
    HealthSample,
    Incident,
    Lease,
    Outage,
    Server,
    ServerHealth,
)

PRODUCT = "NVIDIA H100 80GB HBM3"
LOST = "GPU 3: fell off the bus"


def gpu(index: int, **signals: Any) -> dict[str, Any]:
    """One GPU as an agent reports it."""
    return {
        "index": index,
        "uuid": uuid(index),
        "pci": f"0000:{index:02x}:00.0",
        "name": PRODUCT,
        "temperature_c": 40 + index,
        "power_w": 300.5,
        "utilization_gpu": 90,
        "memory_used_mib": 40_960,
        "memory_total_mib": 81_559,
        "ecc_volatile_corrected_dram": 3,
        "ecc_volatile_corrected_sram": 1,
        "ecc_volatile_uncorrected_dram": 0,
        "ecc_volatile_uncorrected_sram": 0,
        **signals,
    }


def uuid(index: int) -> str:
    return f"GPU-0000000{index}"


def health(*gpus: dict[str, Any], **other: Any) -> dict[str, Any]:
    """The health of a report."""
    return {"state": "ok", "driver": "570.124.06", "gpus": list(gpus), "events": [], **other}


async def heard(
    make: Factory,
    server: Server,
    said: dict[str, Any] | None,
    *,
    lease: Lease | None = None,
    **values: Any,
) -> AgentIdentity:
    """An agent that reported now."""
    now = make.services.clock()
    row = AgentIdentity(
        server_id=server.id,
        lease_id=lease.id if lease else None,
        token_hash=f"{server.id} {now} {lease and lease.id}",
        report={
            "server": server.id,
            "context": "tenant" if lease else "ramdisk",
            "boot_id": "b1",
            "sequence": 1,
            "uptime_s": 60.0,
            "agent_version": "1",
            "hostname": "the-tenants-name",
            "lease": None,
            "health": said,
        },
        **{"seen_at": now, "reported_at": now, **values},
    )
    await make.add(row)
    return row


def finding(
    rule: str, part: str, level: HealthLevel, action: HealthAction, *, summary: str, at: datetime
) -> Finding:
    return Finding(rule, part, level, action, summary, "NVML API", "b1", at, at)


def lost(at: datetime) -> Finding:
    """GPU 3 fell off the bus."""
    return finding(
        "gpu_lost", uuid(3), HealthLevel.FAULTY, HealthAction.QUARANTINE, summary=LOST, at=at
    )


async def judged(make: Factory, server: Server, *findings: Finding) -> None:
    """The verdict of these findings, the worst first."""
    now = make.services.clock()
    worst = findings[0] if findings else None
    verdict = Verdict(
        worst.level if worst else HealthLevel.OK,
        worst.action if worst else HealthAction.NONE,
        findings,
        "b1",
    )
    await make.add(
        ServerHealth(
            server_id=server.id,
            level=verdict.level,
            action=verdict.action,
            summary=verdict.summary,
            level_since=worst.since if worst else now,
            judged_at=now,
            verdict=verdict.to_dict(),
        )
    )


async def sample(make: Factory, server: Server, at: datetime, *gpus: dict[str, Any]) -> None:
    await make.add(HealthSample(server_id=server.id, at=at, gpus=list(gpus)))


async def a_day(make: Factory, server: Server, gpus: int = 8) -> None:
    """Samples of 24 hours of training, with a pause, and GPU 3 lost an hour ago."""
    now = make.services.clock()
    rows = []
    for number in range(289):
        at = now - timedelta(minutes=5) * (288 - number)
        if 100 <= number < 125:
            continue
        works = number > 20 and number % 60 < 50
        rows.append(
            HealthSample(
                server_id=server.id,
                at=at,
                gpus=[
                    _sampled(index, number, works=works)
                    for index in range(gpus)
                    if index != 3 or number < 276
                ],
            )
        )
    await make.add(*rows)


def _sampled(index: int, number: int, *, works: bool) -> dict[str, Any]:
    wave = math.sin(number / 7 + index)
    return {
        "index": index,
        "temperature_c": round((64 if works else 36) + 3 * wave + index),
        "power_w": round((640 if works else 90) + 25 * wave, 1),
        "utilization_percent": round(97 + 3 * wave) if works else 0,
        "memory_used_mib": 71_000 + round(800 * wave) if works else 4,
        "ecc_corrected": number // 60 if index == 5 else 0,
        "ecc_uncorrected": 1 if index == 3 and number > 270 else 0,
    }


async def incident(make: Factory, server: Server, lease: Lease, **values: Any) -> Incident:
    row = Incident(
        **{
            "server_id": server.id,
            "lease_id": lease.id,
            "kind": "health",
            "reason": LOST,
            "next_action": "swap the server",
            "opened_at": make.services.clock(),
            **values,
        }
    )
    await make.add(row)
    return row


async def outage(make: Factory, lease: Lease, began: datetime, ended: datetime | None) -> None:
    await make.add(Outage(lease_id=lease.id, began_at=began, ended_at=ended, reason=LOST))
