"""rackctl incident and rackctl audit: what needs attention, and who did what."""

import json
from typing import Annotated

import typer

from provisioner.rackctl.client import path
from provisioner.rackctl.commands.server_page import incident_table
from provisioner.rackctl.formats import local_time
from provisioner.rackctl.output import Format, Output, rows
from provisioner.rackctl.session import session

Which = Annotated[str, typer.Argument(metavar="INCIDENT", help="The incident's id, inc_….")]
incidents = typer.Typer(no_args_is_help=True, help="Incidents: failures that need attention.")


@incidents.command("list")
def list_incidents(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Include closed ones.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """List open incidents, each with its next action."""
    shared = session(context)
    found = shared.api.items(path("incidents"), {"open": None if everything else "true"})
    shared.screen.show(output, {"items": found, "next": None}, incident_table(found))


@incidents.command("close")
def close_incident(
    context: typer.Context,
    which: Which,
    output: Output = Format.TABLE,
) -> None:
    """Close the circuit breaker's incident. All others close once their cause is gone."""
    shared = session(context)
    closed = shared.api.post(path("incidents", which, "close"))
    shared.screen.show(output, closed, incident_table([closed]))


@incidents.command("acknowledge")
def acknowledge_incident(
    context: typer.Context, which: Which, output: Output = Format.TABLE
) -> None:
    """Say that you know of an open incident."""
    shared = session(context)
    changed = shared.api.post(path("incidents", which, "acknowledge"))
    shared.screen.show(output, changed, incident_table([changed]))


@incidents.command("assign")
def assign_incident(
    context: typer.Context,
    which: Which,
    to: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="An operator (id or e-mail).")
    ] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="Take it from everybody.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Assign an open incident to an operator. Without an option, to yourself."""
    shared = session(context)
    account = None if nobody else to or shared.api.get(path("me"))["id"]
    changed = shared.api.post(path("incidents", which, "assign"), {"account": account})
    shared.screen.show(output, changed, incident_table([changed]))


@incidents.command("note")
def note_incident(
    context: typer.Context,
    which: Which,
    text: Annotated[str, typer.Argument(help="The note.")],
    output: Output = Format.TABLE,
) -> None:
    """Write a note on an incident."""
    shared = session(context)
    changed = shared.api.post(path("incidents", which, "notes"), {"text": text})
    shared.screen.show(output, changed, incident_table([changed]))


def audit(
    context: typer.Context,
    subject: Annotated[
        str | None, typer.Option(help="Only events about this subject (srv_…, res_…, acc_…).")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number.")] = 50,
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
