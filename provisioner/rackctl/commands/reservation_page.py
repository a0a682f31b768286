"""One reservation: found by its id or host name, and shown with how to log in."""

from typing import Annotated

import typer

from provisioner.rackctl.client import Api, JsonObject
from provisioner.rackctl.formats import duration, local_time
from provisioner.rackctl.output import Format, Screen, section, sheet
from provisioner.rackctl.resolve import resolve
from provisioner.rackctl.tables import moment, rows

Reservation = Annotated[
    str,
    typer.Argument(
        metavar="RESERVATION", help="The reservation's id, its first characters, or its host name."
    ),
]
OVER = frozenset({"ended", "cancelled"})


def find(api: Api, which: str) -> JsonObject:
    """The reservation meant. Of several with this host name, the one that is not over."""
    return resolve(
        api,
        "reservations",
        which,
        what="reservation",
        see="see: rackctl reservation list",
        label=lambda item: f"{item['hostname']} ({item['state']})",
        is_current=lambda item: item["state"] not in OVER,
    )


def show_reservation(screen: Screen, output: Format, reservation: JsonObject) -> None:
    if output is Format.JSON:
        screen.json(reservation)
        return
    lease = reservation["lease"] or {}
    screen.out.print(
        sheet(
            [
                ("reservation", reservation["id"]),
                ("state", reservation["state"]),
                ("class", reservation["class"]),
                ("image", reservation["image"]),
                ("host name", reservation["hostname"]),
                ("customer", reservation["customer"]),
                ("starts", local_time(reservation["starts_at"])),
                ("ends", local_time(reservation["ends_at"])),
                ("released", local_time(reservation["released_at"])),
                ("server", lease.get("server")),
                ("lease", lease.get("state")),
                ("step", lease.get("step")),
                ("ready", local_time(lease.get("ready_at"))),
                ("stopped", local_time(lease.get("stopped_at"))),
                ("log in", lease.get("ssh_command")),
                ("host key", lease.get("host_key")),
            ]
        )
    )
    if lease.get("phases"):
        lines = (
            (phase["step"], moment(phase["started_at"]), duration(phase["seconds"]))
            for phase in lease["phases"]
        )
        screen.out.print(section("Phases", rows(["STEP", "STARTED", "TOOK"], lines)))
