"""The table of `/v1`: every endpoint, and the permission that its caller needs."""

from aiohttp import web

from provisioner.domain.access import Permission
from provisioner.service.api import (
    accounts,
    bmc,
    catalogue,
    enrolments,
    health,
    operations,
    requests,
    reservations,
    servers,
    status,
    webhooks,
)
from provisioner.service.http.endpoint import Endpoint

_RENT, _OPERATE = Permission.RENT, Permission.OPERATE
_MANAGE = Permission.MANAGE_CUSTOMERS
_ENROLMENT_LIMIT = 16 * 1024 * 1024

# fmt: off
ENDPOINTS = (
    Endpoint("getCurrentAccount", "GET", "/me", _RENT, accounts.me),
    Endpoint("setPassword", "PUT", "/me/password", _RENT, accounts.change_password, 204),
    Endpoint("listTokens", "GET", "/tokens", _RENT, accounts.list_tokens),
    Endpoint("deleteToken", "DELETE", "/tokens/{id}", _RENT, accounts.revoke_token, 204),
    Endpoint("listServerClasses", "GET", "/classes", _RENT, catalogue.list_classes),
    Endpoint("listImages", "GET", "/images", _RENT, catalogue.list_images),
    Endpoint("importImage", "POST", "/images", _OPERATE, catalogue.add_image, 201),
    Endpoint("listSshKeys", "GET", "/ssh-keys", _RENT, accounts.list_keys),
    Endpoint("createSshKey", "POST", "/ssh-keys", _RENT, accounts.add_key, 201),
    Endpoint("deleteSshKey", "DELETE", "/ssh-keys/{id}", _RENT, accounts.remove_key, 204),
    Endpoint("listReservations", "GET", "/reservations", _RENT, reservations.list_all),
    Endpoint("createReservation", "POST", "/reservations", _RENT, reservations.create, 201),
    Endpoint("getReservation", "GET", "/reservations/{id}", _RENT, reservations.show),
    Endpoint("extendReservation", "POST", "/reservations/{id}/extend", _RENT, reservations.extend),
    Endpoint("swapReservation", "POST", "/reservations/{id}/swap", _RENT, reservations.swap),
    Endpoint("releaseReservation", "POST", "/reservations/{id}/release",
             _RENT, reservations.release),
    Endpoint("createReservationRequest", "POST", "/reservations/{id}/requests",
             _RENT, requests.create_for_lease, 202),
    Endpoint("listReservationRequests", "GET", "/reservations/{id}/requests",
             _RENT, requests.list_for_lease),
    Endpoint("streamReservationEvents", "GET", "/reservations/{id}/events",
             _RENT, reservations.events),
    Endpoint("listReservationCertificates", "GET", "/reservations/{id}/certificates",
             _RENT, reservations.certificates),
    Endpoint("getReservationHealth", "GET", "/reservations/{id}/health", _RENT, health.reservation),
    Endpoint("getWebhook", "GET", "/webhook", _RENT, webhooks.show),
    Endpoint("setWebhook", "PUT", "/webhook", _RENT, webhooks.put),
    Endpoint("deleteWebhook", "DELETE", "/webhook", _RENT, webhooks.remove, 204),
    Endpoint("testWebhook", "POST", "/webhook/test", _RENT, webhooks.test, 202),
    Endpoint("enrolServers", "POST", "/enrolments",
             _OPERATE, enrolments.create, 201, _ENROLMENT_LIMIT),
    Endpoint("listServers", "GET", "/servers", _OPERATE, servers.list_all),
    Endpoint("getServer", "GET", "/servers/{name}", _OPERATE, servers.show),
    Endpoint("createServerRequest", "POST", "/servers/{name}/requests",
             _OPERATE, requests.create, 202),
    Endpoint("listServerRequests", "GET", "/servers/{name}/requests", _OPERATE, requests.list_all),
    Endpoint("retryServerOperation", "POST", "/servers/{name}/retry", _OPERATE, servers.retry),
    Endpoint("setServerBmc", "PUT", "/servers/{name}/bmc", _OPERATE, servers.set_bmc),
    Endpoint("getServerPower", "GET", "/servers/{name}/power", _OPERATE, bmc.power),
    Endpoint("listServerSensors", "GET", "/servers/{name}/sensors", _OPERATE, bmc.sensors),
    Endpoint("listServerEventLog", "GET", "/servers/{name}/event-log", _OPERATE, bmc.event_log),
    Endpoint("getServerInventory", "GET", "/servers/{name}/inventory", _OPERATE, bmc.inventory),
    Endpoint("listServerCertificates", "GET", "/servers/{name}/certificates",
             _OPERATE, servers.certificates),
    Endpoint("getServerHealth", "GET", "/servers/{name}/health", _OPERATE, health.server),
    Endpoint("listGpus", "GET", "/gpus", _OPERATE, health.list_gpus),
    Endpoint("getServiceStatus", "GET", "/status", _OPERATE, status.show),
    Endpoint("listOperations", "GET", "/operations", _OPERATE, operations.list_all),
    Endpoint("getOperation", "GET", "/operations/{id}", _OPERATE, operations.show),
    Endpoint("listOperationLog", "GET", "/operations/{id}/log", _OPERATE, operations.log),
    Endpoint("streamOperationEvents", "GET", "/operations/{id}/events",
             _OPERATE, operations.events),
    Endpoint("listIncidents", "GET", "/incidents", _OPERATE, operations.list_incidents),
    Endpoint("closeIncident", "POST", "/incidents/{id}/close", _OPERATE, operations.close_incident),
    Endpoint("acknowledgeIncident", "POST", "/incidents/{id}/acknowledge",
             _OPERATE, operations.acknowledge_incident),
    Endpoint("assignIncident", "POST", "/incidents/{id}/assign",
             _OPERATE, operations.assign_incident),
    Endpoint("createIncidentNote", "POST", "/incidents/{id}/notes",
             _OPERATE, operations.note_incident, 201),
    Endpoint("listAuditEvents", "GET", "/audit", _OPERATE, operations.list_audit),
    Endpoint("listAccounts", "GET", "/accounts", _MANAGE, accounts.list_accounts),
    Endpoint("createAccount", "POST", "/accounts", _MANAGE, accounts.create_account, 201),
    Endpoint("createAccountToken", "POST", "/accounts/{id}/tokens",
             _MANAGE, accounts.issue_token, 201),
    Endpoint("disableAccount", "POST", "/accounts/{id}/disable", _MANAGE, accounts.disable_account),
    Endpoint("setAccountQuota", "PATCH", "/accounts/{id}/quota", _MANAGE, accounts.set_quota),
    Endpoint("enableAccount", "POST", "/accounts/{id}/enable", _MANAGE, accounts.enable_account),
    Endpoint("createAccountPassword", "POST", "/accounts/{id}/password",
             _MANAGE, accounts.reset_password),
)
# fmt: on


def add_routes(app: web.Application) -> None:
    for endpoint in ENDPOINTS:
        app.router.add_route(endpoint.method, endpoint.full_path, endpoint.handle)
