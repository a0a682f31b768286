"""rackctl incident and rackctl audit: what needs attention, and who did what."""

import json
from typing import Annotated

import typer

from provisioner.rackctl.client import JsonObject, path
from provisioner.rackctl.commands.server_page import incident_table
from provisioner.rackctl.output import Format, Output
from provisioner.rackctl.resolve import resolve
from provisioner.rackctl.session import Wide, session
from provisioner.rackctl.tables import Ids, Value, moment, prose, rows

incidents = typer.Typer(no_args_is_help=True, help="Incidents: failures that need attention.")


@incidents.command("list")
def list_incidents(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Include closed ones.")] = False,
    wide: Wide = False,
    output: Output = Format.TABLE,
) -> None:
    """List open incidents, each with its next action."""
    shared = session(context)
    found = shared.api.items(path("incidents"), {"open": None if everything else "true"})
    shared.screen.show(output, {"items": found, "next": None}, incident_table(found))


@incidents.command("close")
def close_incident(
    context: typer.Context,
    which: Annotated[
        str,
        typer.Argument(metavar="INCIDENT", help="The incident's id, or its first characters."),
    ],
    output: Output = Format.TABLE,
) -> None:
    """Close the circuit breaker's incident. All others close once their cause is gone."""
    shared = session(context)
    incident = resolve(
        shared.api,
        "incidents",
        which,
        what="incident",
        label=lambda found: f"{found['kind']} {found['server'] or ''}: {found['reason']}",
        is_current=lambda found: found["closed_at"] is None,
        see="see: rackctl incident list",
    )
    closed = shared.api.post(path("incidents", incident["id"], "close"))
    shared.screen.show(output, closed, incident_table([closed]))


def audit(
    context: typer.Context,
    subject: Annotated[
        str | None,
        typer.Option(
            help="Only events about this server, reservation or account: its name, or the first "
            "characters of its id."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number.")] = 50,
    wide: Wide = False,
    output: Output = Format.TABLE,
) -> None:
    """Show who did what, newest first."""
    shared = session(context)
    found = shared.api.items(path("audit"), {"subject": subject}, at_most=limit)
    subjects = Ids(event["subject"] for event in found)
    table = rows(
        ["TIME", "ACTOR", "ACTION", "SUBJECT", prose("DETAIL")],
        (
            (
                moment(event["at"]),
                _named(event["actor"], event["actor_name"], Ids([])(event["actor"])),
                event["action"],
                _named(event["subject"], event["subject_name"], subjects(event["subject"])),
                _detail(event["detail"]),
            )
            for event in found
        ),
    )
    shared.screen.show(output, {"items": found, "next": None}, table)


def _named(identifier: str, name: str, short: Value) -> Value:
    """The name where there is one; with `--wide` the identifier too."""
    if not name:
        return short
    return Value(f"{name} ({identifier})", name, name)


def _detail(detail: JsonObject) -> str:
    """`verb: maintain, reason: fan 3 is loud`, with what is itself an object as JSON."""
    return ", ".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in detail.items()
        if value not in ("", None)
    )
