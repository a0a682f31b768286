"""What the API's document says about operations beyond their types: headers, streamed events, and
specific problems. Tests hold every answer to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from provisioner.service.views.operations import LogView, OperationDetail
from provisioner.service.views.reservations import ReservationView


@dataclass(frozen=True, slots=True)
class Header:
    name: str
    description: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class PathParameter:
    description: str
    unknown: str
    """Code of the problem if nothing has this name or identifier."""
    example: str


@dataclass(frozen=True, slots=True)
class Notes:
    """`problems` are codes by status, without those common to all requests or path parameters."""

    headers: tuple[Header, ...] = ()
    events: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    """Model of each streamed event, by the event's name."""
    problems: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "Any text that is unique to the request, such as a UUID. A request that is repeated with the "
    "same key is carried out only once and gets the same answer.",
    example="4f0c8a52-6a1b-4c55-9a1e-2d3c7b6f9e10",
)
LAST_EVENT_ID = Header(
    "Last-Event-ID", "`id` of the last event received. The stream resumes after it."
)
_BMC = {502: ("bmc_unreachable", "bmc_login_refused", "bmc_command_failed")}

PATH_PARAMETERS: dict[str, PathParameter] = {
    "/ssh-keys/{id}": PathParameter(
        "Identifier of the SSH key.", "unknown_key", "key_01K2X3M4N5P6Q7R8S9T0V1W2X3"
    ),
    "/tokens/{id}": PathParameter(
        "Identifier of the API token.", "unknown_token", "tok_01K2X3M4N5P6Q7R8S9T0V1W2X3"
    ),
    "/reservations/{id}": PathParameter(
        "Identifier of the reservation.", "unknown_reservation", "res_01K2X3M4N5P6Q7R8S9T0V1W2X3"
    ),
    "/servers/{name}": PathParameter("Name of the server.", "unknown_server", "a1-u04"),
    "/operations/{id}": PathParameter(
        "Identifier of the operation.", "unknown_operation", "op_01K2X3M4N5P6Q7R8S9T0V1W2X3"
    ),
    "/incidents/{id}": PathParameter(
        "Identifier of the incident.", "unknown_incident", "inc_01K2X3M4N5P6Q7R8S9T0V1W2X3"
    ),
    "/accounts/{id}": PathParameter(
        "Identifier of the account.", "unknown_account", "acc_01K2X3M4N5P6Q7R8S9T0V1W2X3"
    ),
}
"""Path parameters by the beginning of the path."""

NOTES: dict[str, Notes] = {
    "importImage": Notes(
        problems={409: ("library_full",), 422: ("no_such_file", "not_an_image")},
    ),
    "createSshKey": Notes(problems={409: ("key_exists",), 422: ("bad_public_key",)}),
    "setPassword": Notes(problems={422: ("wrong_password",)}),
    "listTokens": Notes(problems={403: ("admin_only", "forbidden"), 404: ("unknown_account",)}),
    "deleteToken": Notes(problems={403: ("admin_only",)}),
    "createReservation": Notes(
        headers=(IDEMPOTENCY_KEY,),
        problems={
            403: ("forbidden",),
            409: ("no_capacity", "over_quota", "idempotency_mismatch"),
            422: (
                "unknown_class",
                "unknown_image",
                "unknown_key",
                "unknown_account",
                "no_keys",
                "bad_public_key",
                "bad_duration",
                "bad_hostname",
                "bad_user_data",
                "bad_idempotency_key",
            ),
        },
    ),
    "extendReservation": Notes(
        headers=(IDEMPOTENCY_KEY,),
        problems={
            409: ("no_capacity", "over_quota", "reservation_over", "idempotency_mismatch"),
            422: ("bad_extension", "bad_idempotency_key"),
        },
    ),
    "swapReservation": Notes(
        problems={409: ("not_faulty", "no_capacity", "nothing_to_swap", "swapped_already")},
    ),
    "createReservationRequest": Notes(
        problems={
            409: ("not_ready", "request_refused", "too_many_requests"),
            422: ("unknown_image", "bad_user_data"),
        },
    ),
    "streamReservationEvents": Notes(events={"reservation": ReservationView}),
    "getWebhook": Notes(problems={404: ("unknown_webhook",)}),
    "setWebhook": Notes(problems={422: ("bad_webhook",)}),
    "deleteWebhook": Notes(problems={404: ("unknown_webhook",)}),
    "testWebhook": Notes(problems={404: ("unknown_webhook",), 409: ("too_soon",)}),
    "enrolServers": Notes(problems={409: ("enrolled_meanwhile",), 422: ("bad_inventory",)}),
    "createServerRequest": Notes(
        problems={
            409: ("request_refused", "too_many_requests"),
            422: ("unknown_image", "unknown_key", "bad_public_key"),
        },
    ),
    "retryServerOperation": Notes(problems={409: ("nothing_parked",)}),
    "setServerBmc": Notes(problems={409: ("bmc_address_taken",)}),
    "getServerPower": Notes(problems=_BMC),
    "listServerSensors": Notes(problems=_BMC),
    "listServerEventLog": Notes(problems=_BMC),
    "getServerInventory": Notes(problems=_BMC),
    "listOperations": Notes(problems={404: ("unknown_server",)}),
    "streamOperationEvents": Notes(
        headers=(LAST_EVENT_ID,),
        events={"log": LogView, "operation": OperationDetail},
    ),
    "acknowledgeIncident": Notes(problems={409: ("incident_closed",)}),
    "assignIncident": Notes(
        problems={
            404: ("unknown_account",),
            409: ("incident_closed",),
            422: ("not_an_operator",),
        },
    ),
    "createIncidentNote": Notes(problems={422: ("empty_note",)}),
    "closeIncident": Notes(problems={409: ("closes_by_itself",)}),
    "createAccount": Notes(
        problems={403: ("admin_only",), 409: ("email_exists",), 503: ("passwords_busy",)}
    ),
    "createAccountToken": Notes(problems={403: ("admin_only",)}),
    "setAccountQuota": Notes(problems={403: ("admin_only",)}),
    "enableAccount": Notes(problems={403: ("admin_only",)}),
    "createAccountPassword": Notes(problems={403: ("admin_only",)}),
    "disableAccount": Notes(problems={403: ("admin_only",), 409: ("own_account",)}),
}
"""Notes by the operation's identifier."""
