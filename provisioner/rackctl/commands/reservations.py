"""rackctl reservation: lists, pages, extensions and certificates."""

from typing import Annotated

import typer

from provisioner.rackctl.client import JsonObject, path
from provisioner.rackctl.commands import lease_actions, requests
from provisioner.rackctl.commands.certificates import certificate_table
from provisioner.rackctl.commands.durations import seconds
from provisioner.rackctl.commands.reservation_page import Reservation, find, show_reservation
from provisioner.rackctl.commands.reserve import send
from provisioner.rackctl.output import Format, Output
from provisioner.rackctl.session import Wide, session
from provisioner.rackctl.tables import Ids, Value, extra, moment, rows

app = typer.Typer(no_args_is_help=True, help="Reservations and their leases.")


@app.command("list")
def list_reservations(
    context: typer.Context, wide: Wide = False, output: Output = Format.TABLE
) -> None:
    """List your reservations; operators see all."""
    shared = session(context)
    found = shared.api.items(path("reservations"))
    short = Ids(reservation["id"] for reservation in found)
    table = rows(
        [
            "RESERVATION",
            "HOSTNAME",
            "CUSTOMER",
            extra("STATE"),
            "LEASE",
            "SERVER",
            "ENDS",
            extra("CLASS"),
            extra("IMAGE"),
        ],
        (
            (
                short(reservation["id"]),
                reservation["hostname"],
                reservation["customer"],
                reservation["state"],
                _lease_state(reservation),
                (reservation["lease"] or {}).get("server"),
                moment(reservation["ends_at"]),
                reservation["class"],
                reservation["image"],
            )
            for reservation in found
        ),
    )
    shared.screen.show(output, {"items": found, "next": None}, table)


def _lease_state(reservation: JsonObject) -> Value:
    """The lease's; where there is no room for the reservation's own beside it, either."""
    state = str((reservation["lease"] or {}).get("state") or "")
    return Value(state, state, state or str(reservation["state"]))


@app.command()
def show(
    context: typer.Context, which: Reservation, wide: Wide = False, output: Output = Format.TABLE
) -> None:
    """Show a reservation: how to log in, and the time of each step."""
    shared = session(context)
    show_reservation(shared.screen, output, find(shared.api, which))


@app.command()
def extend(
    context: typer.Context,
    which: Reservation,
    by: Annotated[
        str, typer.Option("--by", metavar="DURATION", help="Additional time, such as 2h.")
    ],
    output: Output = Format.TABLE,
) -> None:
    """Extend a running reservation."""
    shared = session(context)
    body: JsonObject = {"by_s": seconds(by)}
    address = path("reservations", find(shared.api, which)["id"], "extend")
    show_reservation(shared.screen, output, send(shared.api, address, body))


lease_actions.register(app)


@app.command("requests")
def list_requests(
    context: typer.Context, which: Reservation, wide: Wide = False, output: Output = Format.TABLE
) -> None:
    """List requests on the server and their outcomes, newest first."""
    reservation = find(session(context).api, which)
    requests.show_all(context, path("reservations", reservation["id"], "requests"), output)


@app.command()
def certificates(
    context: typer.Context, which: Reservation, wide: Wide = False, output: Output = Format.TABLE
) -> None:
    """List the erasure certificates from before and after a reservation."""
    shared = session(context)
    found = shared.api.items(path("reservations", find(shared.api, which)["id"], "certificates"))
    shared.screen.show(output, {"items": found, "next": None}, certificate_table(found))
