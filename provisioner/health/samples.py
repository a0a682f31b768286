"""Samples for charts: each GPU's gauges every five minutes, kept for a day."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health.gauges import gauges
from provisioner.store.tables import HealthSample

EVERY = timedelta(minutes=5)
KEPT = timedelta(hours=25)
_EPOCH = datetime.fromtimestamp(0).astimezone()


def slot(now: datetime) -> datetime:
    """Return the sample's time: the same in all processes, so each slot is stored once."""
    return now - (now - _EPOCH) % EVERY


def drawn(health: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a report's GPUs in the form that charts draw; empty if there are none."""
    return [
        {"index": gpu.get("index", number), **gauges(gpu)}
        for number, gpu in enumerate(health.get("gpus") or ())
    ]


async def keep(
    session: AsyncSession, samples: Mapping[str, list[dict[str, Any]]], at: datetime
) -> None:
    """Write one sample per server, and delete these servers' expired ones."""
    on_postgresql = session.get_bind().dialect.name == "postgresql"
    insert = postgresql.insert if on_postgresql else sqlite.insert
    rows = [{"server_id": key, "at": at, "gpus": gpus} for key, gpus in samples.items()]
    await session.exec(insert(HealthSample).on_conflict_do_nothing(), params=rows)
    await session.exec(
        delete(HealthSample).where(
            col(HealthSample.server_id).in_(list(samples)), col(HealthSample.at) < at - KEPT
        )
    )
