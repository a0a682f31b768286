"""The table of `/v1`: every endpoint with the permission that its caller needs."""

from aiohttp import web

from provisioner.domain.access import Permission
from provisioner.service.api import (
    accounts,
    bmc,
    catalogue,
    enrolments,
    health,
    operations,
    reservations,
    servers,
    webhooks,
)
from provisioner.service.http.endpoint import Endpoint

_RENT, _OPERATE = Permission.RENT, Permission.OPERATE
_MANAGE = Permission.MANAGE_CUSTOMERS
_ENROLMENT_LIMIT = 16 * 1024 * 1024

ENDPOINTS = (
    Endpoint("GET", "/me", _RENT, accounts.me),
    Endpoint("GET", "/classes", _RENT, catalogue.list_classes),
    Endpoint("GET", "/images", _RENT, catalogue.list_images),
    Endpoint("POST", "/images", _OPERATE, catalogue.add_image, 201),
    Endpoint("GET", "/ssh-keys", _RENT, accounts.list_keys),
    Endpoint("POST", "/ssh-keys", _RENT, accounts.add_key, 201),
    Endpoint("DELETE", "/ssh-keys/{id}", _RENT, accounts.remove_key, 204),
    Endpoint("GET", "/reservations", _RENT, reservations.list_all),
    Endpoint("POST", "/reservations", _RENT, reservations.create, 201),
    Endpoint("GET", "/reservations/{id}", _RENT, reservations.show),
    Endpoint("POST", "/reservations/{id}/extend", _RENT, reservations.extend),
    Endpoint("POST", "/reservations/{id}/swap", _RENT, reservations.swap),
    Endpoint("POST", "/reservations/{id}/release", _RENT, reservations.release),
    Endpoint("GET", "/reservations/{id}/events", _RENT, reservations.events),
    Endpoint("GET", "/reservations/{id}/certificates", _RENT, reservations.certificates),
    Endpoint("GET", "/reservations/{id}/health", _RENT, health.reservation),
    Endpoint("GET", "/webhook", _RENT, webhooks.show),
    Endpoint("PUT", "/webhook", _RENT, webhooks.put),
    Endpoint("DELETE", "/webhook", _RENT, webhooks.remove, 204),
    Endpoint("POST", "/webhook/test", _RENT, webhooks.test, 202),
    Endpoint("POST", "/enrolments", _OPERATE, enrolments.create, 201, _ENROLMENT_LIMIT),
    Endpoint("GET", "/servers", _OPERATE, servers.list_all),
    Endpoint("GET", "/servers/{name}", _OPERATE, servers.show),
    Endpoint("POST", "/servers/{name}/intent", _OPERATE, servers.file_intent),
    Endpoint("POST", "/servers/{name}/retry", _OPERATE, servers.retry),
    Endpoint("PUT", "/servers/{name}/bmc", _OPERATE, servers.set_bmc),
    Endpoint("GET", "/servers/{name}/power", _OPERATE, bmc.power),
    Endpoint("POST", "/servers/{name}/power", _OPERATE, bmc.set_power),
    Endpoint("GET", "/servers/{name}/sensors", _OPERATE, bmc.sensors),
    Endpoint("GET", "/servers/{name}/event-log", _OPERATE, bmc.event_log),
    Endpoint("GET", "/servers/{name}/inventory", _OPERATE, bmc.inventory),
    Endpoint("GET", "/servers/{name}/certificates", _OPERATE, servers.certificates),
    Endpoint("GET", "/servers/{name}/health", _OPERATE, health.server),
    Endpoint("GET", "/gpus", _OPERATE, health.list_gpus),
    Endpoint("GET", "/operations", _OPERATE, operations.list_all),
    Endpoint("GET", "/operations/{id}", _OPERATE, operations.show),
    Endpoint("GET", "/operations/{id}/log", _OPERATE, operations.log),
    Endpoint("GET", "/operations/{id}/events", _OPERATE, operations.events),
    Endpoint("GET", "/incidents", _OPERATE, operations.list_incidents),
    Endpoint("POST", "/incidents/{id}/close", _OPERATE, operations.close_incident),
    Endpoint("GET", "/audit", _OPERATE, operations.list_audit),
    Endpoint("GET", "/accounts", _MANAGE, accounts.list_accounts),
    Endpoint("POST", "/accounts", _MANAGE, accounts.create_account, 201),
    Endpoint("POST", "/accounts/{id}/tokens", _MANAGE, accounts.issue_token, 201),
    Endpoint("POST", "/accounts/{id}/disable", _MANAGE, accounts.disable_account),
)


def add_routes(app: web.Application) -> None:
    for endpoint in ENDPOINTS:
        app.router.add_route(endpoint.method, endpoint.full_path, endpoint.handle)
