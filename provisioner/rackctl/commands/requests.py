"""Requests on servers: file one, wait for its outcome, and show it."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Annotated

import typer

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.errors import Failed, Interrupted, Unreachable, WaitTimeout
from provisioner.rackctl.follow import PATIENCE_S
from provisioner.rackctl.output import Format
from provisioner.rackctl.session import session
from provisioner.rackctl.tables import Ids, Rows, extra, moment, prose, rows

POLL_S = 0.5
_NEWEST = 50
"""Requests looked at to find one's own; a server has a few open ones at most."""

Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the outcome.")]
Timeout = Annotated[
    str, typer.Option(metavar="DURATION", help="Stop waiting and exit with 4 after this time.")
]


@dataclass(frozen=True, slots=True)
class Patience:
    """Whether to wait for an outcome, and for how long."""

    wait: bool
    timeout_s: float


def outcome(
    api: Api,
    address: str,
    body: JsonObject,
    patience: Patience,
    *,
    stop: Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> JsonObject:
    """File a request and return it once it is done; `address` is where requests are filed.

    Raises Failed if it fails or is cancelled, WaitTimeout if it takes too long.
    """
    stop = stop or Event()
    request = api.post(address, body)
    deadline = clock() + patience.timeout_s
    missed_since: float | None = None
    while patience.wait and not request["ended_at"]:
        if clock() >= deadline:
            raise WaitTimeout(
                f"{request['verb']} of {request['server']} is not done yet; the request stands",
                next_action=f"check it with: {_check(request, address)}",
            )
        if stop.wait(POLL_S):
            raise Interrupted(f"{request['verb']} of {request['server']} stands")
        try:
            newest = api.get(address, {"limit": _NEWEST})["items"]
        except Unreachable:
            missed_since = missed_since or clock()
            if clock() - missed_since > PATIENCE_S:
                raise
            continue
        missed_since = None
        request = next((each for each in newest if each["id"] == request["id"]), request)
    if request["outcome"] in ("failed", "cancelled"):
        raise Failed(
            f"{request['verb']} of {request['server']} {request['outcome']}: "
            f"{request['failure'] or 'no reason was given'}",
            next_action=f"see: rackctl server show {request['server']}",
        )
    return request


def _check(request: JsonObject, address: str) -> str:
    """The command that lists the requests filed at an address."""
    if address.startswith("/v1/reservations/"):
        return f"rackctl reservation requests {address.split('/')[3]}"
    return f"rackctl server requests {request['server']}"


@contextmanager
def standing_on_interrupt(what: str, check: str) -> Iterator[None]:
    """Ctrl-C ends the waiting, not the work: say so."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            f"interrupted; {what}", next_action=f"check it with: {check}"
        ) from interrupt


def file_for_lease(
    context: typer.Context,
    reservation_id: str,
    body: JsonObject,
    patience: Patience,
    output: Format,
) -> None:
    """File a request on a reservation's server, and show its outcome."""
    shared = session(context)
    check = f"rackctl reservation requests {reservation_id}"
    with standing_on_interrupt("the request stands", check):
        request = outcome(
            shared.api, path("reservations", reservation_id, "requests"), body, patience
        )
    shared.screen.show(output, request, request_table([request]))


def show_all(context: typer.Context, address: str, output: Format) -> None:
    shared = session(context)
    found = shared.api.items(address)
    shared.screen.show(output, {"items": found, "next": None}, request_table(found))


def request_table(requests: Iterable[JsonObject]) -> Rows:
    requests = list(requests)
    short = Ids(request["id"] for request in requests)
    return rows(
        [
            "REQUEST",
            "SERVER",
            "VERB",
            "FILED",
            extra("ENDED"),
            "OUTCOME",
            extra("BY"),
            prose("WHY"),
            prose("FAILURE"),
        ],
        (
            (
                short(request["id"]),
                request["server"],
                request["verb"],
                moment(request["filed_at"]),
                moment(request["ended_at"]),
                request["outcome"],
                request["actor"],
                request["reason"],
                request["failure"],
            )
            for request in requests
        ),
    )
