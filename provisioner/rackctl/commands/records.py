"""rackctl incident and rackctl audit: what needs attention, and who did what."""

import json
from typing import Annotated

import typer

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands.server_page import incident_table
from provisioner.rackctl.output import Format, Output
from provisioner.rackctl.resolve import resolve
from provisioner.rackctl.session import Wide, session
from provisioner.rackctl.tables import Ids, Value, moment, prose, rows

Which = Annotated[
    str,
    typer.Argument(metavar="INCIDENT", help="The incident's id, or its first characters."),
]
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
    which: Which,
    output: Output = Format.TABLE,
) -> None:
    """Close the circuit breaker's incident. All others close once their cause is gone."""
    shared = session(context)
    closed = shared.api.post(_path(shared.api, which, "close"))
    shared.screen.show(output, closed, incident_table([closed]))


@incidents.command("acknowledge")
def acknowledge_incident(
    context: typer.Context, which: Which, output: Output = Format.TABLE
) -> None:
    """Say that you know of an open incident."""
    shared = session(context)
    changed = shared.api.post(_path(shared.api, which, "acknowledge"))
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
    changed = shared.api.post(_path(shared.api, which, "assign"), {"account": account})
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
    changed = shared.api.post(_path(shared.api, which, "notes"), {"text": text})
    shared.screen.show(output, changed, incident_table([changed]))


def _path(api: Api, which: str, action: str) -> str:
    incident = resolve(
        api,
        "incidents",
        which,
        what="incident",
        label=lambda found: f"{found['kind']} {found['server'] or ''}: {found['reason']}",
        is_current=lambda found: found["closed_at"] is None,
        see="see: rackctl incident list",
    )
    return path("incidents", incident["id"], action)


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
