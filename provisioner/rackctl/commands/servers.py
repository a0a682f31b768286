"""rackctl server: the servers, and an operator's requests on them."""

from typing import Annotated

import typer

from provisioner.rackctl.client import JsonObject, path
from provisioner.rackctl.commands import requests, server_actions, server_page
from provisioner.rackctl.commands.certificates import certificate_table
from provisioner.rackctl.commands.completion import server_names
from provisioner.rackctl.commands.secrets import read_secret
from provisioner.rackctl.output import Format, Output
from provisioner.rackctl.selector import parse, select
from provisioner.rackctl.session import Wide, session
from provisioner.rackctl.tables import extra, moment, prose, rows

app = typer.Typer(no_args_is_help=True, help="Servers: state, power, requests, BMC.")

Name = Annotated[str, typer.Argument(help="Name of the server.", autocompletion=server_names)]


@app.command("list")
def list_servers(
    context: typer.Context,
    *,
    state: Annotated[str | None, typer.Option(help="Only servers in this state.")] = None,
    server_class: Annotated[str | None, typer.Option("--class", help="Only this class.")] = None,
    rack: Annotated[str | None, typer.Option(help="Only this rack.")] = None,
    selector: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE,…", help="Only servers that match, as in other commands."),
    ] = None,
    stuck: Annotated[
        bool, typer.Option("--stuck", help="Only servers that need a person.")
    ] = False,
    wide: Wide = False,
    output: Output = Format.TABLE,
) -> None:
    """List servers: state, step, time in state, reason and next action."""
    shared = session(context)
    asked = {"state": state, "class": server_class, "rack": rack}
    asked["needs_attention"] = "true" if stuck else None
    servers = shared.api.items(path("servers"), asked)
    if selector:
        servers = select(servers, parse(selector))
    shared.screen.show(output, {"items": servers, "next": None}, server_page.server_table(servers))


@app.command()
def show(
    context: typer.Context, name: Name, wide: Wide = False, output: Output = Format.TABLE
) -> None:
    """Show one server: state and reason, disks, incidents, the failing step."""
    shared = session(context)
    server = shared.api.get(path("servers", name))
    if output is Format.JSON:
        shared.screen.json(server)
    else:
        shared.screen.out.print(server_page.page(shared.api, server))


server_actions.register(app)


@app.command("requests")
def list_requests(
    context: typer.Context, name: Name, wide: Wide = False, output: Output = Format.TABLE
) -> None:
    """List requests on a server and their outcomes, newest first."""
    requests.show_all(context, path("servers", name, "requests"), output)


@app.command("set-bmc")
def set_bmc(
    context: typer.Context,
    *,
    name: Name,
    username: Annotated[
        str | None, typer.Option(help="User name on the BMC. The present one by default.")
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read the password from the first line of stdin."),
    ] = False,
    address: Annotated[str | None, typer.Option(help="New address of the BMC.")] = None,
    port: Annotated[int | None, typer.Option(help="New port of the BMC.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Change a BMC's login or address. Prompts for the password, or reads it from stdin."""
    shared = session(context)
    present = shared.api.get(path("servers", name))["bmc"]
    body: JsonObject = {
        "username": username or present["username"],
        "password": read_secret("BMC password", from_stdin=password_stdin),
    }
    body |= {"address": address} if address else {}
    body |= {"port": port} if port else {}
    server = shared.api.put(path("servers", name, "bmc"), body)
    server = server or shared.api.get(path("servers", name))
    shared.screen.show(output, server, server_page.server_table([server]))


@app.command()
def sensors(context: typer.Context, name: Name, output: Output = Format.TABLE) -> None:
    """Read a server's sensors through its BMC."""
    shared = session(context)
    answer = shared.api.get(path("servers", name, "sensors"))
    lines = [
        (sensor["name"], sensor["kind"], sensor["value"], sensor["unit"], sensor["health"])
        for sensor in answer["items"]
    ]
    table = rows(["SENSOR", extra("KIND"), "VALUE", "UNIT", "HEALTH"], lines)
    shared.screen.show(output, answer, table)


@app.command("event-log")
def event_log(
    context: typer.Context, name: Name, wide: Wide = False, output: Output = Format.TABLE
) -> None:
    """Read the system event log of a server's BMC."""
    shared = session(context)
    answer = shared.api.get(path("servers", name, "event-log"))
    lines = [
        (moment(entry["at"]), entry["severity"], entry["source"], entry["text"])
        for entry in answer["items"]
    ]
    shared.screen.show(output, answer, rows(["TIME", "SEVERITY", "SOURCE", prose("TEXT")], lines))


@app.command()
def certificates(
    context: typer.Context, name: Name, wide: Wide = False, output: Output = Format.TABLE
) -> None:
    """List the erasure certificates of a server's disks, newest first."""
    shared = session(context)
    found = shared.api.items(path("servers", name, "certificates"))
    shared.screen.show(output, {"items": found, "next": None}, certificate_table(found))
