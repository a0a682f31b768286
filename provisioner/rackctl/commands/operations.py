"""rackctl operation: work on servers, step by step and live."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands.completion import server_names
from provisioner.rackctl.commands.server_page import step_table, step_text
from provisioner.rackctl.errors import Failed
from provisioner.rackctl.follow import ENDED, operation_events
from provisioner.rackctl.formats import local_time, plain
from provisioner.rackctl.output import Format, Output, Screen, section, sheet
from provisioner.rackctl.resolve import resolve
from provisioner.rackctl.session import Wide, session
from provisioner.rackctl.tables import Ids, extra, moment, rows

app = typer.Typer(no_args_is_help=True, help="Operations: steps, times, logs.")

Which = Annotated[
    str,
    typer.Argument(
        metavar="ID|SERVER",
        help="An operation's id or its first characters, or a server (its running or latest "
        "operation).",
        autocompletion=server_names,
    ),
]


@app.command("list")
def list_operations(
    context: typer.Context,
    server: Annotated[
        str | None, typer.Option(help="Only of this server.", autocompletion=server_names)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number.")] = 50,
    wide: Wide = False,
    output: Output = Format.TABLE,
) -> None:
    """List operations, newest first."""
    shared = session(context)
    found = shared.api.items(path("operations"), {"server": server}, at_most=limit)
    short = Ids(operation["id"] for operation in found)
    table = rows(
        ["OPERATION", "SERVER", "STEP", "STATE", "STARTED", extra("ENDED")],
        (
            (
                short(operation["id"]),
                operation.get("server"),
                step_text(operation),
                operation["state"],
                moment(operation.get("started_at")),
                moment(operation.get("ended_at")),
            )
            for operation in found
        ),
    )
    shared.screen.show(output, {"items": found, "next": None}, table)


@app.command()
def show(
    context: typer.Context, which: Which, wide: Wide = False, output: Output = Format.TABLE
) -> None:
    """Show one operation with the time of each step."""
    shared = session(context)
    operation = shared.api.get(path("operations", _resolve(shared.api, which)))
    if output is Format.JSON:
        shared.screen.json(operation)
        return
    shared.screen.out.print(_summary(operation))
    shared.screen.out.print(section("Steps", step_table(operation["steps"])))


def _summary(operation: JsonObject) -> Table:
    return sheet(
        [
            ("operation", operation["id"]),
            ("server", operation.get("server")),
            ("verb", operation["verb"]),
            ("state", operation["state"]),
            ("step", operation["step"]),
            ("power cycles", operation["boots"]),
            ("started", local_time(operation.get("started_at"))),
            ("ended", local_time(operation.get("ended_at"))),
        ]
    )


@app.command()
def follow(context: typer.Context, which: Which, output: Output = Format.TABLE) -> None:
    """Print an operation's log live until it ends. Exits with 1 if it fails.

    Resumes after a dropped connection. With `-o json`, every line is one object with the key `log`
    or `operation`.
    """
    shared = session(context)
    screen = shared.screen
    operation: JsonObject = {}
    for event in operation_events(shared.api, _resolve(shared.api, which)):
        if output is Format.JSON:
            screen.json_line({event.name: event.data})
        elif event.name == "log":
            _print_line(screen, event.data)
        elif event.data["state"] != "running" and event.data["state"] not in ENDED:
            screen.note(f"Operation {event.data['state']}: it needs an operator.")
        if event.name == "operation":
            operation = event.data
    if operation["state"] == "failed":
        raise Failed(
            f"operation {operation['id']} ({operation['verb']}) failed at {operation['step']}",
            next_action=f"see why and what to do: rackctl operation show {operation['id']}",
        )
    screen.note(f"Operation {operation['id']} ({operation['verb']}) is done.")


def _print_line(screen: Screen, line: JsonObject) -> None:
    at = local_time(line["at"]).split(" ")[1]
    screen.out.print(
        Text.assemble((f"{at} ", "dim"), (f"{line['step']} ", "bold"), plain(line["text"])),
        soft_wrap=True,
    )


def _resolve(api: Api, which: str) -> str:
    """The identifier of an operation, given by its first characters or its server."""
    if which.startswith("op_"):
        operation = resolve(
            api,
            "operations",
            which,
            what="operation",
            label=lambda found: f"{found['verb']} of {found['server']}",
            see="see: rackctl operation list",
        )
        return str(operation["id"])
    server = api.get(path("servers", which))
    if server["operation"]:
        return str(server["operation"]["id"])
    latest = api.items(path("operations"), {"server": which}, at_most=1)
    if not latest:
        raise Failed(f"{which} has had no operation yet")
    return str(latest[0]["id"])
