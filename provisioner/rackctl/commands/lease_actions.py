"""rackctl reservation: what is done with the server of a reservation. It asks before any loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands import requests
from provisioner.rackctl.commands.durations import seconds
from provisioner.rackctl.commands.reservation_page import (
    OVER,
    Reservation,
    find,
    show_reservation,
)
from provisioner.rackctl.commands.reserve import await_ready
from provisioner.rackctl.confirm import Yes, confirm
from provisioner.rackctl.errors import UsageFault
from provisioner.rackctl.follow import reservation_states
from provisioner.rackctl.output import Format, Output
from provisioner.rackctl.session import session

Reason = Annotated[
    str,
    typer.Option(
        help="The reason, kept in the audit trail. Operators must give one for a customer's."
    ),
]
_TIMEOUT = "1h"


@dataclass(frozen=True, slots=True)
class LeaseAction:
    """A command that files a request on a reservation's server."""

    command: str
    verb: str
    help: str
    loss: str = ""
    """What it takes from the customer, which is asked about first."""


_START = LeaseAction("start", "start", "Switch the server on.")
_POWER = (
    _START,
    LeaseAction(
        "stop",
        "stop",
        "Shut the server down. Cuts the power if that takes too long.",
        "Whatever runs on it is stopped.",
    ),
    LeaseAction(
        "reboot",
        "reboot",
        "Shut the server down and start it again.",
        "Whatever runs on it is stopped.",
    ),
    LeaseAction(
        "power-cycle",
        "power_cycle",
        "Cut the server's power at once and switch it on again.",
        "Whatever runs on it is lost.",
    ),
)
_REINSTALL = LeaseAction("reinstall", "reinstall", "", "All data on the system disk will be lost.")
_SWAP = LeaseAction(
    "swap", "swap", "", "Access to the present server ends at once and all its disks are erased."
)
_RELEASE = LeaseAction(
    "release", "release", "", "Access ends at once and all its disks are erased."
)


def register(app: typer.Typer) -> None:
    """Add a command for every action."""
    for action in _POWER:
        app.command(action.command, help=action.help)(_command(action))
    app.command()(reinstall)
    app.command()(swap)
    app.command()(release)


def _command(action: LeaseAction) -> Callable[..., None]:
    def command(
        context: typer.Context,
        *,
        which: Reservation,
        reason: Reason = "",
        yes: Yes = False,
        wait: requests.Wait = True,
        timeout: requests.Timeout = _TIMEOUT,
        output: Output = Format.TABLE,
    ) -> None:
        patience = requests.Patience(wait, seconds(timeout))
        api = session(context).api
        reservation = _asked(api, action, which, reason, yes=yes)
        body = _body(action, reason)
        requests.file_for_lease(context, reservation["id"], body, patience, output)

    return command


def reinstall(
    context: typer.Context,
    *,
    which: Reservation,
    image: Annotated[
        str | None, typer.Option(help="Install this image instead of the reservation's.")
    ] = None,
    reason: Reason = "",
    yes: Yes = False,
    wait: requests.Wait = True,
    timeout: requests.Timeout = _TIMEOUT,
    output: Output = Format.TABLE,
) -> None:
    """Erase the system disk and reinstall. Address, host key and SSH keys stay the same."""
    patience = requests.Patience(wait, seconds(timeout))
    api = session(context).api
    reservation = _asked(api, _REINSTALL, which, reason, yes=yes)
    body = _body(_REINSTALL, reason) | ({"image": image} if image else {})
    requests.file_for_lease(context, reservation["id"], body, patience, output)


def swap(
    context: typer.Context,
    *,
    which: Reservation,
    reason: Reason = "",
    yes: Yes = False,
    wait: requests.Wait = True,
    timeout: requests.Timeout = _TIMEOUT,
    output: Output = Format.TABLE,
) -> None:
    """Replace a faulty server with another one. The data on its disks is lost.

    Waits until login is possible.
    """
    shared = session(context)
    wait_s = seconds(timeout)
    reservation = _asked(shared.api, _SWAP, which, reason, yes=yes)
    answer = _post(shared.api, reservation, "swap", reason)
    if wait:
        with requests.standing_on_interrupt("the swap goes on", _see(reservation)):
            answer = await_ready(shared.api, shared.screen, reservation["id"], wait_s)
    show_reservation(shared.screen, output, answer)


def release(
    context: typer.Context,
    *,
    which: Reservation,
    reason: Reason = "",
    yes: Yes = False,
    wait: requests.Wait = True,
    timeout: requests.Timeout = _TIMEOUT,
    output: Output = Format.TABLE,
) -> None:
    """End a reservation now. Access ends at once and the server is wiped.

    Waits until access is confirmed to have ended.
    """
    shared = session(context)
    wait_s = seconds(timeout)
    reservation = _asked(shared.api, _RELEASE, which, reason, yes=yes)
    answer = _post(shared.api, reservation, "release", reason)
    if wait and not _is_gone(answer):
        with requests.standing_on_interrupt("the release stands", _see(reservation)):
            answer = _await_end(shared.api, reservation["id"], wait_s)
    show_reservation(shared.screen, output, answer)


def _asked(api: Api, action: LeaseAction, which: str, reason: str, *, yes: bool) -> JsonObject:
    """Find the reservation, and ask by its host name before a loss.

    On a customer's reservation an operator says why.
    """
    reservation = find(api, which)
    if not action.loss:
        return reservation
    if not reason.strip() and reservation["account"] != api.get(path("me"))["id"]:
        raise UsageFault(
            f"{reservation['hostname']} is a customer's: --reason is required",
            next_action="say why; it is kept in the audit trail",
        )
    server = (reservation["lease"] or {}).get("server")
    on = f" on {server}" if server else ""
    confirm(
        f"{action.command} {reservation['hostname']}{on}: {action.loss}",
        [reservation["hostname"], reservation["id"]],
        yes=yes,
    )
    return reservation


def _body(action: LeaseAction, reason: str) -> JsonObject:
    return {"verb": action.verb} | ({"reason": reason} if reason else {})


def _post(api: Api, reservation: JsonObject, verb: str, reason: str) -> JsonObject:
    address = path("reservations", reservation["id"], verb)
    return api.call("POST", address, parameters={"reason": reason or None})


def _await_end(api: Api, reservation_id: str, timeout_s: float) -> JsonObject:
    """The reservation once nobody has access to its server."""
    for reservation in reservation_states(
        api, reservation_id, timeout_s=timeout_s, until="access had ended"
    ):
        if _is_gone(reservation):
            return reservation
    raise AssertionError("the states of a reservation end by an exception only")


def _is_gone(reservation: JsonObject) -> bool:
    lease = reservation["lease"]
    return reservation["state"] in OVER and (lease is None or lease["state"] == "ended")


def _see(reservation: JsonObject) -> str:
    return f"rackctl reservation show {reservation['id']}"
