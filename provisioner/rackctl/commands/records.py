"""rackctl incident and rackctl audit: what needs a person, and who did what."""

import json
from typing import Annotated

import typer

from provisioner.rackctl.client import path
from provisioner.rackctl.commands.server_page import incident_table
from provisioner.rackctl.formats import local_time
from provisioner.rackctl.output import Format, Output, rows
from provisioner.rackctl.session import session

incidents = typer.Typer(no_args_is_help=True, help="Incidents: failures that somebody owns.")


@incidents.command("list")
def list_incidents(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """List open incidents with what to do about each."""
    shared = session(context)
    found = shared.api.items(path("incidents"), {"open": None if everything else "true"})
    shared.screen.show(output, {"items": found, "next": None}, incident_table(found))


@incidents.command("close")
def close_incident(
    context: typer.Context,
    which: Annotated[str, typer.Argument(metavar="INCIDENT", help="Its identifier (inc_…).")],
    output: Output = Format.TABLE,
) -> None:
    """Close the circuit breaker's incident; the others close when what they tell is over."""
    shared = session(context)
    closed = shared.api.post(path("incidents", which, "close"))
    shared.screen.show(output, closed, incident_table([closed]))


def audit(
    context: typer.Context,
    subject: Annotated[
        str | None, typer.Option(help="Only what happened to this (srv_…, res_…, acc_…).")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    output: Output = Format.TABLE,
) -> None:
    """Show who did what, newest first."""
    shared = session(context)
    found = shared.api.items(path("audit"), {"subject": subject}, at_most=limit)
    table = rows(
        ["TIME", "ACTOR", "ACTION", "SUBJECT", "DETAIL"],
        (
            (
                local_time(event["at"]),
                event["actor"],
                event["action"],
                event["subject"],
                json.dumps(event["detail"]) if event["detail"] else "",
            )
            for event in found
        ),
    )
    shared.screen.show(output, {"items": found, "next": None}, table)
