"""rackctl server health and gpu list, and the health column, against the real service."""

import json
import re
from datetime import timedelta

import pytest
from rackctl_service import Rackctl, Service
from sqlmodel import select

from provisioner.domain.health import Finding, HealthAction, HealthLevel, Verdict
from provisioner.store.columns import utc_now
from provisioner.store.tables import AgentIdentity, BmcReading, Server, ServerHealth

LOST = "GPU 3: fell off the bus"
AGE = r"\d+m(?:\d+s)?"
"""At least the 3m12s of the fleet; a slow machine adds to it."""


async def make_ill(service: Service) -> None:
    """r1-u03 has lost its GPU 3, r1-u01 is healthy."""
    now = utc_now()
    since = now - timedelta(minutes=3, seconds=12)
    lost = Finding(
        "gpu_lost",
        "GPU-3",
        HealthLevel.FAULTY,
        HealthAction.QUARANTINE,
        LOST,
        "NVML API",
        "b1",
        since,
        since,
    )
    async with service.database.write() as session:
        for name, verdict, gpus in (
            ("r1-u01", Verdict(HealthLevel.OK, HealthAction.NONE, ()), [0]),
            ("r1-u03", Verdict(HealthLevel.FAULTY, HealthAction.QUARANTINE, (lost,)), [0, 3]),
        ):
            server = (await session.exec(select(Server).where(Server.name == name))).one()
            session.add(
                ServerHealth(
                    server_id=server.id,
                    level=verdict.level,
                    action=verdict.action,
                    summary=verdict.summary,
                    level_since=since,
                    judged_at=now,
                    verdict=verdict.to_dict(),
                )
            )
            session.add(
                AgentIdentity(
                    server_id=server.id,
                    token_hash=name,
                    seen_at=now,
                    report=report(*map(gpu, gpus)),
                )
            )
            session.add(
                BmcReading(server_id=server.id, due_at=now, read_at=since, error="no answer")
            )


def gpu(index: int) -> dict[str, object]:
    known = {"index": index, "uuid": f"GPU-{index}", "name": "NVIDIA H100 80GB HBM3"}
    if index == 3:
        return {**known, "lost": True}
    return {
        **known,
        "temperature_c": 61,
        "power_w": 655.5,
        "utilization_gpu": 97,
        "memory_used_mib": 71_000,
        "memory_total_mib": 81_559,
        "ecc_volatile_corrected_dram": 4,
        "ecc_volatile_corrected_sram": 0,
        "ecc_volatile_uncorrected_dram": 0,
        "ecc_volatile_uncorrected_sram": 0,
    }


def report(*gpus: dict[str, object]) -> dict[str, object]:
    health = {"state": "ok", "driver": "570.124.06", "gpus": list(gpus), "events": []}
    return {"context": "tenant", "boot_id": "b1", "uptime_s": 60.0, "health": health}


@pytest.fixture
def ill(service: Service) -> Service:
    service.background.run(make_ill(service))
    return service


@pytest.mark.usefixtures("ill")
def test_lists_and_pages_have_the_health(rackctl: Rackctl) -> None:
    lines = {line.split()[0]: line for line in rackctl("server", "list").out.splitlines()}
    assert "HEALTH" in lines["NAME"]
    assert " ok " in lines["r1-u01"]
    assert " faulty " in lines["r1-u03"]
    page = rackctl("server", "show", "r1-u03").out
    assert re.search(rf"faulty for {AGE}: {LOST}", page)
    assert "health" not in rackctl("server", "show", "r1-u02").out


@pytest.mark.usefixtures("ill")
def test_a_servers_health_has_findings_and_gpus(rackctl: Rackctl) -> None:
    ran = rackctl("server", "health", "r1-u03")

    assert ran.code == 0
    for expected in (
        "faulty",
        "quarantine",
        LOST,
        "NVML API",
        "570.124.06",
        "from the tenant",
        "61 °C",
        "656 W",
        "69.3 of 79.6 GiB",
        "4 / 0",
    ):
        assert expected in ran.out, expected
    assert re.search(rf"read {AGE} ago; no answer", ran.out)
    health = json.loads(rackctl("server", "health", "r1-u03", "-o", "json").out)
    assert (health["server"], len(health["gpus"])) == ("r1-u03", 2)


def test_a_server_that_was_never_heard_is_said_to_be(rackctl: Rackctl) -> None:
    ran = rackctl("server", "health", "r1-u02")

    assert "no verdict yet" in ran.out
    assert "never" in ran.out


@pytest.mark.usefixtures("ill")
@pytest.mark.parametrize(
    ("options", "uuids"),
    [
        ((), ["GPU-0", "GPU-0", "GPU-3"]),
        (("--bad",), ["GPU-3"]),
        (("--bad", "--rack", "elsewhere"), []),
        (("--class", "lab-2nvme", "--rack", "r1"), ["GPU-0", "GPU-0", "GPU-3"]),
    ],
)
def test_gpus_are_listed(rackctl: Rackctl, options: tuple[str, ...], uuids: list[str]) -> None:
    listed = json.loads(rackctl("gpu", "list", *options, "-o", "json").out)
    table = rackctl("gpu", "list", *options).out

    assert [gpu["uuid"] for gpu in listed["items"]] == uuids
    assert all(uuid in table for uuid in uuids)
    assert (LOST in table) == ("GPU-3" in uuids)
