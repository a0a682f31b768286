"""The table of `/v1`: every endpoint with the least role that may call it."""

from aiohttp import web

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
from provisioner.store.tables import Role

_CUSTOMER, _OPERATOR = Role.CUSTOMER, Role.OPERATOR
_ENROLMENT_LIMIT = 16 * 1024 * 1024

ENDPOINTS = (
    Endpoint("GET", "/me", _CUSTOMER, accounts.me),
    Endpoint("GET", "/classes", _CUSTOMER, catalogue.list_classes),
    Endpoint("GET", "/images", _CUSTOMER, catalogue.list_images),
    Endpoint("POST", "/images", _OPERATOR, catalogue.add_image, 201),
    Endpoint("GET", "/ssh-keys", _CUSTOMER, accounts.list_keys),
    Endpoint("POST", "/ssh-keys", _CUSTOMER, accounts.add_key, 201),
    Endpoint("DELETE", "/ssh-keys/{id}", _CUSTOMER, accounts.remove_key, 204),
    Endpoint("GET", "/reservations", _CUSTOMER, reservations.list_all),
    Endpoint("POST", "/reservations", _CUSTOMER, reservations.create, 201),
    Endpoint("GET", "/reservations/{id}", _CUSTOMER, reservations.show),
    Endpoint("POST", "/reservations/{id}/extend", _CUSTOMER, reservations.extend),
    Endpoint("POST", "/reservations/{id}/swap", _CUSTOMER, reservations.swap),
    Endpoint("POST", "/reservations/{id}/release", _CUSTOMER, reservations.release),
    Endpoint("GET", "/reservations/{id}/events", _CUSTOMER, reservations.events),
    Endpoint("GET", "/reservations/{id}/certificates", _CUSTOMER, reservations.certificates),
    Endpoint("GET", "/reservations/{id}/health", _CUSTOMER, health.reservation),
    Endpoint("GET", "/webhook", _CUSTOMER, webhooks.show),
    Endpoint("PUT", "/webhook", _CUSTOMER, webhooks.put),
    Endpoint("DELETE", "/webhook", _CUSTOMER, webhooks.remove, 204),
    Endpoint("POST", "/webhook/test", _CUSTOMER, webhooks.test, 202),
    Endpoint("POST", "/enrolments", _OPERATOR, enrolments.create, 201, _ENROLMENT_LIMIT),
    Endpoint("GET", "/servers", _OPERATOR, servers.list_all),
    Endpoint("GET", "/servers/{name}", _OPERATOR, servers.show),
    Endpoint("POST", "/servers/{name}/intent", _OPERATOR, servers.file_intent),
    Endpoint("POST", "/servers/{name}/retry", _OPERATOR, servers.retry),
    Endpoint("PUT", "/servers/{name}/bmc", _OPERATOR, servers.set_bmc),
    Endpoint("GET", "/servers/{name}/power", _OPERATOR, bmc.power),
    Endpoint("POST", "/servers/{name}/power", _OPERATOR, bmc.set_power),
    Endpoint("GET", "/servers/{name}/sensors", _OPERATOR, bmc.sensors),
    Endpoint("GET", "/servers/{name}/event-log", _OPERATOR, bmc.event_log),
    Endpoint("GET", "/servers/{name}/inventory", _OPERATOR, bmc.inventory),
    Endpoint("GET", "/servers/{name}/certificates", _OPERATOR, servers.certificates),
    Endpoint("GET", "/servers/{name}/health", _OPERATOR, health.server),
    Endpoint("GET", "/gpus", _OPERATOR, health.list_gpus),
    Endpoint("GET", "/operations", _OPERATOR, operations.list_all),
    Endpoint("GET", "/operations/{id}", _OPERATOR, operations.show),
    Endpoint("GET", "/operations/{id}/log", _OPERATOR, operations.log),
    Endpoint("GET", "/operations/{id}/events", _OPERATOR, operations.events),
    Endpoint("GET", "/incidents", _OPERATOR, operations.list_incidents),
    Endpoint("POST", "/incidents/{id}/close", _OPERATOR, operations.close_incident),
    Endpoint("GET", "/audit", _OPERATOR, operations.list_audit),
    Endpoint("GET", "/accounts", _OPERATOR, accounts.list_accounts),
    Endpoint("POST", "/accounts", _OPERATOR, accounts.create_account, 201),
    Endpoint("POST", "/accounts/{id}/tokens", _OPERATOR, accounts.issue_token, 201),
    Endpoint("POST", "/accounts/{id}/disable", _OPERATOR, accounts.disable_account),
)


def add_routes(app: web.Application) -> None:
    for endpoint in ENDPOINTS:
        app.router.add_route(endpoint.method, endpoint.full_path, endpoint.handle)
