"""Every code of a problem, its HTTP statuses, and its meaning.

The API's document and docs/api.md are generated from this table; tests hold the code equal to it.
"""

from typing import NamedTuple


class ProblemCode(NamedTuple):
    statuses: tuple[int, ...]
    meaning: str


def _row(*statuses_and_meaning: int | str) -> ProblemCode:
    *statuses, meaning = statuses_and_meaning
    return ProblemCode(tuple(int(status) for status in statuses), str(meaning))


STATUSES = {
    400: "The request cannot be parsed.",
    401: "There is no valid token.",
    403: "The account may not do this.",
    404: "It does not exist, or it belongs to somebody else.",
    405: "The address does not support this method.",
    408: "The request arrives too slowly.",
    409: "The current state does not allow it.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The request is invalid; `errors` points to the place.",
    429: "Too many requests, connections or logins. Try again after `Retry-After` seconds.",
    500: "The provisioner failed.",
    502: "Something that the provisioner depends on, such as a BMC, failed.",
    503: "The service or its database is overloaded. Try again after `Retry-After` seconds.",
}
"""The meaning of each status, whatever the code."""

CODES: dict[str, ProblemCode] = {
    # Any request
    "bad_request": _row(400, "The address or a parameter cannot be parsed."),
    "malformed_json": _row(400, "The body is not valid JSON."),
    "unauthenticated": _row(401, "The token is missing, unknown, expired or revoked."),
    "forbidden": _row(403, "The account's role does not allow this."),
    "not_found": _row(404, "There is nothing at this address."),
    "method_not_allowed": _row(405, "The address does not support this method; see `Allow`."),
    "too_slow": _row(408, "The headers or the body of the request arrive too slowly."),
    "too_many_connections": _row(429, "Too many connections from one address are open."),
    "too_many_streams": _row(429, "The account or the address has too many event streams open."),
    "overloaded": _row(503, "The service has too many connections."),
    "too_large": _row(413, "The body is longer than allowed."),
    "unsupported_media_type": _row(415, "The content type is not supported."),
    "invalid_request": _row(422, "The body or the query does not match its schema."),
    "internal_error": _row(500, "The provisioner failed; nothing was changed."),
    "no_database": _row(503, "The database does not answer."),
    # Accounts
    "unknown_account": _row(404, 422, "There is no such account."),
    "email_exists": _row(409, "An account with this e-mail address already exists."),
    "own_account": _row(409, "You cannot disable your own account."),
    "passwords_busy": _row(503, "Too many passwords are being checked."),
    "admin_only": _row(403, "Only administrators manage accounts with this role."),
    "wrong_password": _row(422, "The current password is wrong, or was changed meanwhile."),
    "unknown_token": _row(404, "There is no such API token."),
    "bad_public_key": _row(422, "The text is not a usable SSH public key."),
    "key_exists": _row(409, "The account already has this key, or a key with this name."),
    "unknown_key": _row(404, 422, "The account has no such SSH key."),
    # Reservations
    "unknown_reservation": _row(404, "There is no such reservation."),
    "unknown_class": _row(422, "There is no such server class."),
    "unknown_image": _row(422, "There is no such image."),
    "no_keys": _row(422, "Without an SSH key, nobody could log in."),
    "bad_duration": _row(422, "The duration is too short, too long or not a number."),
    "bad_hostname": _row(422, "The host name is not valid."),
    "bad_user_data": _row(422, "The user data is too long, or the image would ignore it."),
    "bad_extension": _row(422, "The new end is not later than the current one, or too late."),
    "bad_idempotency_key": _row(422, "The `Idempotency-Key` is too long or not printable."),
    "idempotency_mismatch": _row(409, "The `Idempotency-Key` was used for another request."),
    "over_quota": _row(409, "The account may not reserve more servers, or not for so long."),
    "no_capacity": _row(409, "No server of the class is free for this time."),
    "reservation_over": _row(409, "The reservation is over."),
    "not_ready": _row(409, "The reservation has no server that is ready for use."),
    "nothing_to_swap": _row(409, "The reservation has no server to swap."),
    "not_faulty": _row(409, "No fault is known on the server."),
    "swapped_already": _row(409, "The reservation was already swapped once."),
    # Webhook
    "unknown_webhook": _row(404, "The account has no webhook."),
    "bad_webhook": _row(422, "Messages cannot be sent to this address."),
    "too_soon": _row(409, "A test was sent only seconds ago."),
    # Servers
    "unknown_server": _row(404, "There is no such server."),
    "bad_inventory": _row(422, "An inventory document has faults; nothing was changed."),
    "enrolled_meanwhile": _row(409, "Somebody else enrolled one of the servers at the same time."),
    "request_refused": _row(409, "The server's state does not allow this request."),
    "too_many_requests": _row(409, "The server already has too many open requests."),
    "nothing_parked": _row(409, "No operation of the server is parked."),
    "bmc_address_taken": _row(409, "Another server's BMC has this address."),
    "bmc_unreachable": _row(502, "The BMC does not answer."),
    "bmc_login_refused": _row(502, "The BMC refuses the user name or the password."),
    "bmc_command_failed": _row(502, "The BMC answered a command with an error."),
    "too_many_servers": _row(422, "Too many servers match for one response."),
    # Images
    "no_such_file": _row(422, "There is no such file in the import folder."),
    "not_an_image": _row(422, "The file is not a raw disk image as described."),
    "library_full": _row(409, "The disk of the image library is full."),
    "image_refused": _row(502, "A file cannot be used as an image."),
    "image_missing": _row(404, 502, "A part of the image is not in the library."),
    "image_corrupt": _row(502, "A file of the image library has changed since the import."),
    # Operations and incidents
    "unknown_operation": _row(404, "There is no such operation."),
    "unknown_incident": _row(404, "There is no such incident."),
    "incident_closed": _row(409, "The incident is closed."),
    "not_an_operator": _row(422, "Incidents are assigned to active operators only."),
    "empty_note": _row(422, "The note is empty."),
    "closes_by_itself": _row(409, "An incident of this kind closes when it is over."),
    # Requests from machines
    "bad_message": _row(400, "The message does not match the protocol."),
    "not_a_machine": _row(403, "This is available only on the servers' network."),
    "no_lease": _row(403, "The agent of a ramdisk has no lease."),
    "other_agent": _row(403, "The identity belongs to another agent."),
    "unknown_boot_token": _row(403, "The boot token is unknown."),
    "other_machine": _row(403, "The boot token was given to another machine."),
    "not_imaging": _row(403, "The server is not writing this image."),
    "spent_boot_token": _row(
        403, "Another requester has used the boot token, or its window is closed."
    ),
    "no_ramdisk": _row(403, 404, "There is no such file, or the agent does not run in a ramdisk."),
    # Pages
    "unreadable_form": _row(400, "The form contains bytes that are not text."),
    "stale_form": _row(403, "The form is too old, or was not sent from a page of this site."),
    # Failures of background work; rarely in a response
    "failure": _row(502, "A step of an operation failed."),
    "ssh_unreachable": _row(502, "SSH on the server does not answer."),
    "ssh_refused": _row(502, "The server is up, but no SSH server answers."),
    "ssh_login_refused": _row(502, "SSH on the server refuses the provisioner's key."),
    "host_key_mismatch": _row(502, "The server presents a host key that was not issued to it."),
    "play_ended": _row(502, "A play ended early."),
    "play_failed": _row(502, "A play failed on the server."),
    "play_unreachable": _row(502, "The server was lost during a play."),
    "switch_unreachable": _row(502, "The switch does not answer or does not obey."),
    "dnsmasq_failed": _row(502, "The DHCP server dnsmasq does not run as configured."),
}
