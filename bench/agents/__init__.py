"""`agents`: reports from thousands of simulated agents to one daemon on one core.

The agents are one process, on another core; the daemon is the installed one, reconciler included.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.agents.daemon import Daemon
from bench.agents.fleet import TENANTS, Agent, read_health, seed, unwritten
from bench.agents.load import Order, Result
from bench.report import Report
from provisioner.store.database import Database
from provisioner.store.migrate import migrate

_CONNECTIONS = 1 + TENANTS
"""Per agent: one for its reports, and a tenant's to wait for a newer grant."""
_WARM_S = 130.0
"""Health is reported once a minute."""
_MEANING = {
    "reports_per_second": "answered",
    "p50_ms": "from when a report is due to the end of its answer",
    "p99_ms": "goal: under 100",
    "max_ms": "",
    "late_p99_ms": "the sender's own delay, included in the latency",
    "lost": "reports not answered with 200, or not in the database at the end; goal: 0",
    "rss_mb_start": "of the daemon, after each server's health was judged twice",
    "rss_mb_end": "",
    "cpu_cores": "of the daemon; it has one",
}


def run(
    agents: int = 10_000,
    seconds: float = 60,
    interval: float = 10,
    gpus: int = 8,
    database_url: str = "",
) -> Report:
    """`database_url` names an empty database; by default it is SQLite in a temporary folder."""
    _allow_files(int(_CONNECTIONS * agents) + 1000)
    with tempfile.TemporaryDirectory(prefix="ilbench") as name:
        folder = Path(name)
        url = database_url or f"sqlite:///{folder / 'ironlease.db'}"
        health = read_health(folder, gpus)
        fleet = asyncio.run(_prepare(url, agents, health))
        cores = sorted(os.sched_getaffinity(0))
        with Daemon(folder, url, cores[-1]) as daemon:
            order = Order(daemon.port, seconds, interval, health, [list(agent) for agent in fleet])
            begun, cpu = time.monotonic(), daemon.cpu_seconds()
            with _sender(folder, order, cores[0]) as sender:
                time.sleep(min(_WARM_S, seconds / 2))
                rss_start = daemon.rss_mb()
                output, _ = sender.communicate()
            rss_end = daemon.rss_mb()
            cpu_cores = (daemon.cpu_seconds() - cpu) / (time.monotonic() - begun)
        result = Result(**json.loads(output))
        missing = asyncio.run(_missing(url, result))
    if result.failures or missing:
        print(f"{result.failures}, {missing} not written\n{daemon.log}", file=sys.stderr)
    latencies = sorted(result.latencies_ms)
    figures = {
        "agents": agents,
        "seconds": seconds,
        "reports": result.sent,
        "reports_per_second": round(len(latencies) / seconds, 1),
        "p50_ms": _quantile(latencies, 0.5),
        "p99_ms": _quantile(latencies, 0.99),
        "max_ms": _quantile(latencies, 1),
        "late_p99_ms": _quantile(sorted(result.lateness_ms), 0.99),
        "lost": result.sent - len(latencies) + missing,
        "rss_mb_start": rss_start,
        "rss_mb_end": rss_end,
        "cpu_cores": round(cpu_cores, 2),
    }
    _print(figures)
    return Report(name="agents", figures=figures)


def _allow_files(count: int) -> None:
    """Raise the open file limit for this process's children, the daemon among them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        raise SystemExit(f"this many agents need {count} open files; `ulimit -Hn` permits {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


async def _prepare(url: str, agents: int, health: dict[str, object]) -> list[Agent]:
    database = Database(url)
    try:
        await migrate(database)
        return await seed(database, agents, health)
    finally:
        await database.close()


async def _missing(url: str, result: Result) -> int:
    database = Database(url)
    try:
        return await unwritten(
            database,
            {
                server: (datetime.fromtimestamp(sent_at, UTC), uptime_s)
                for server, (sent_at, uptime_s) in result.answered.items()
            },
        )
    finally:
        await database.close()


def _sender(folder: Path, order: Order, core: int) -> "subprocess.Popen[str]":
    file = folder / "order.json"
    file.write_text(json.dumps(asdict(order)))
    program = "from bench.agents.load import main; main()"
    return subprocess.Popen(
        ["taskset", "--cpu-list", str(core), sys.executable, "-c", program, str(file)],
        stdout=subprocess.PIPE,
        text=True,
    )


def _quantile(ordered: list[float], share: float) -> float:
    """Return the smallest value that this share does not exceed; 0 if there is none."""
    if not ordered:
        return 0
    return ordered[max(0, min(len(ordered) - 1, int(len(ordered) * share + 0.999999) - 1))]


def _print(figures: dict[str, float]) -> None:
    table = Table("Figure", "Value", "Meaning")
    for name, value in figures.items():
        table.add_row(name, f"{value:g}", _MEANING.get(name, ""))
    Console(stderr=True).print(table)
