"""`/metrics` for Prometheus: requests by endpoint, servers by state and health, what waits for a
person, background work. GPUs are left to `gpus.py`: a large fleet has too many for one answer.
"""

import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.health.levels import HealthLevel
from provisioner.domain.lifecycle import State
from provisioner.loops import Driver
from provisioner.service.context import services_of
from provisioner.service.metrics.loops import LoopMetrics
from provisioner.store.tables import Incident, Server, ServerHealth

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Metrics:
    """The metrics of one application, in its own registry."""

    def __init__(self, driver: Driver) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(LoopMetrics(driver))
        self.requests = Counter(
            "ironlease_http_requests",
            "Requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ironlease_http_request_seconds",
            "Time to the end of the answer, event streams left out",
            ("method", "route"),
            registry=self.registry,
        )
        self.servers = Gauge(
            "ironlease_servers",
            "Servers by class and state",
            ("class", "state"),
            registry=self.registry,
        )
        self.incidents = Gauge(
            "ironlease_incidents_open", "Open incidents by kind", ("kind",), registry=self.registry
        )
        self.health = Gauge(
            "ironlease_servers_health",
            "Servers by class and level of health; unknown until the first verdict",
            ("class", "level"),
            registry=self.registry,
        )
        self.unwell = Gauge(
            "ironlease_server_health",
            "1 for the level of each server that is not ok",
            ("server", "level"),
            registry=self.registry,
        )


METRICS = web.AppKey("metrics", Metrics)


@web.middleware
async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    began = time.perf_counter()
    response = await handler(request)
    resource = request.match_info.route.resource
    # The route's pattern and not the path, which has as many values as there are things.
    route = resource.canonical if resource is not None else "unknown"
    metrics = request.app[METRICS]
    metrics.requests.labels(request.method, route, str(response.status)).inc()
    if response.content_type != "text/event-stream":
        metrics.seconds.labels(request.method, route).observe(time.perf_counter() - began)
    return response


async def metrics(request: web.Request) -> web.Response:
    found = request.app[METRICS]
    async with services_of(request).database.read() as session:
        servers = await session.exec(
            select(Server.class_name, Server.state, func.count()).group_by(
                col(Server.class_name), col(Server.state)
            )
        )
        incidents = await session.exec(
            select(Incident.kind, func.count())
            .where(col(Incident.closed_at).is_(None))
            .group_by(col(Incident.kind))
        )
        await _set_health(found, session)
    found.servers.clear()
    for class_name, state, count in servers.all():
        found.servers.labels(class_name, State(state).value).set(count)
    found.incidents.clear()
    for kind, count in incidents.all():
        found.incidents.labels(kind).set(count)
    return web.Response(
        body=generate_latest(found.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
    )


async def _set_health(found: Metrics, session: AsyncSession) -> None:
    levels = await session.exec(
        select(Server.class_name, ServerHealth.level, func.count())
        .join(ServerHealth, isouter=True)
        .group_by(col(Server.class_name), col(ServerHealth.level))
    )
    found.health.clear()
    for class_name, level, count in levels.all():
        found.health.labels(class_name, HealthLevel(level).value if level else "unknown").set(count)
    unwell = await session.exec(
        select(Server.name, ServerHealth.level)
        .join(ServerHealth)
        .where(ServerHealth.level != HealthLevel.OK)
    )
    found.unwell.clear()
    for name, level in unwell.all():
        found.unwell.labels(name, HealthLevel(level).value).set(1)
