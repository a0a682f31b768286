"""The addresses of the pages."""

from pathlib import Path

from aiohttp import web

from provisioner.service.web import (
    account,
    extend,
    fleet,
    home,
    incidents,
    keys,
    lease,
    login,
    operator,
    reference,
    reserve,
    webhook,
)

_STATIC = Path(__file__).parent / "static"


def add_routes(app: web.Application) -> None:
    app.router.add_get("/", home.show)
    app.router.add_get("/reservations", lease.overview)
    app.router.add_get("/login", login.form)
    app.router.add_post("/login", login.submit)
    app.router.add_post("/logout", login.logout)
    app.router.add_get("/account", account.show)
    app.router.add_post("/account/password", account.change_password)
    app.router.add_post("/account/tokens/{id}/revoke", account.revoke)
    app.router.add_get("/reserve", reserve.form)
    app.router.add_post("/reserve", reserve.submit)
    app.router.add_get("/reservations/{id}", lease.show)
    app.router.add_get("/reservations/{id}/events", lease.events)
    app.router.add_get("/reservations/{id}/extend", extend.form)
    app.router.add_post("/reservations/{id}/extend", extend.submit)
    app.router.add_post("/reservations/{id}/swap", lease.swap)
    app.router.add_post("/reservations/{id}/requests", lease.request_work)
    app.router.add_post("/reservations/{id}/release", lease.release)
    app.router.add_get("/keys", keys.show)
    app.router.add_post("/keys", keys.add)
    app.router.add_post("/keys/{id}/remove", keys.remove)
    app.router.add_get("/webhook", webhook.show)
    app.router.add_post("/webhook", webhook.put)
    app.router.add_post("/webhook/test", webhook.test)
    app.router.add_post("/webhook/remove", webhook.remove)
    app.router.add_get("/servers", fleet.show)
    app.router.add_get("/servers/act", fleet.confirm)
    app.router.add_post("/servers/act", fleet.act)
    app.router.add_get("/servers/{name}", operator.server)
    app.router.add_get("/operations/{id}", operator.operation)
    app.router.add_get("/incidents", incidents.show)
    app.router.add_post("/incidents/{id}/{work}", incidents.work)
    app.router.add_get("/docs", reference.show)
    app.router.add_get("/docs/runbook", incidents.runbook)
    app.router.add_static("/static/", _STATIC)
