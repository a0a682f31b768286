"""Assembles the web application: middlewares, the API, pages, machines' and agents' requests."""

from aiohttp import web

from provisioner.service import boot
from provisioner.service import web as pages
from provisioner.service.agents import grants
from provisioner.service.agents.ingest import INGEST, Ingest, running
from provisioner.service.agents.reports import report
from provisioner.service.api import endpoints
from provisioner.service.api.openapi import openapi, served
from provisioner.service.context import SERVICES, Services, services_of
from provisioner.service.guards import machine_networks_only, problems, strict_headers
from provisioner.service.http.streams import STREAMS, OpenStreams
from provisioner.service.metrics.gpus import gpu_metrics
from provisioner.service.metrics.site import METRICS, Metrics, measured, metrics
from provisioner.service.web import login, reference, render


def make_app(services: Services) -> web.Application:
    app = web.Application(middlewares=[measured, problems, machine_networks_only])
    app[SERVICES] = services
    app[STREAMS] = OpenStreams(
        per_account=services.streams_per_account, per_address=services.streams_per_address
    )
    app[METRICS] = Metrics(services.driver)
    app[INGEST] = Ingest(services.database, services.clock)
    app.cleanup_ctx.append(running)
    app.on_response_prepare.append(strict_headers)
    login.setup(app)
    render.setup(app)
    reference.setup(app, served, services.public_url)
    endpoints.add_routes(app)
    boot.add_routes(app)
    pages.add_routes(app)
    app.router.add_post("/agents/report", report)
    app.router.add_get("/agents/grant", grants.grant)
    app.router.add_post("/agents/release", grants.release)
    app.router.add_get("/openapi.json", openapi)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/metrics/gpus", gpu_metrics)
    return app


async def healthz(request: web.Request) -> web.Response:
    """Whether the service reaches its database."""
    async with services_of(request).database.read() as session:
        await (await session.connection()).exec_driver_sql("SELECT 1")
    return web.json_response({"status": "ok"})
