"""The whole command line: the options before the command, and every command by name."""

from typing import Annotated

import typer

from provisioner.rackctl.commands import (
    accounts,
    catalogue,
    operations,
    records,
    reservations,
    servers,
    tokens,
    webhooks,
)
from provisioner.rackctl.commands.enrol import enrol
from provisioner.rackctl.commands.health import gpus, server_health
from provisioner.rackctl.commands.login import login, password, whoami
from provisioner.rackctl.commands.reserve import reserve, ssh
from provisioner.rackctl.commands.status import status
from provisioner.rackctl.commands.watch import watch
from provisioner.rackctl.config import DEFAULT_URL
from provisioner.rackctl.session import Session

_EPILOG = (
    "Exit codes: 0 done; 1 refused or failed; 2 wrong usage, configuration or input file; "
    "3 the service does not answer; 4 waiting timed out; 5 of several servers, some failed; "
    "130 interrupted while waiting."
)

app = typer.Typer(
    name="rackctl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    context: typer.Context,
    url: Annotated[
        str, typer.Option(envvar="IRONLEASE_URL", help="Address of the provisioner.")
    ] = DEFAULT_URL,
    token: Annotated[
        str,
        typer.Option(
            envvar="IRONLEASE_TOKEN",
            help="API token; the one saved by `rackctl login` by default. Other users of this "
            "machine can see command lines: prefer the variable or login.",
            show_default=False,
        ),
    ] = "",
    no_color: Annotated[
        bool, typer.Option("--no-color", help="No colours (or set NO_COLOR).")
    ] = False,
) -> None:
    """Operate the racks of an Ironlease provisioner through its HTTP API."""
    shared = Session(url, token, colour=not no_color)
    context.obj = shared
    context.call_on_close(shared.close)


app.command()(login)
app.command()(whoami)
app.command()(password)
app.command()(enrol)
servers.app.command("health")(server_health)
app.add_typer(servers.app, name="server")
app.add_typer(gpus, name="gpu")
app.command()(status)
app.command()(watch)
app.add_typer(operations.app, name="operation")
app.add_typer(records.incidents, name="incident")
app.command()(records.audit)
app.add_typer(catalogue.classes, name="class")
app.add_typer(catalogue.images, name="image")
app.add_typer(catalogue.keys, name="key")
app.command()(reserve)
app.add_typer(reservations.app, name="reservation")
app.command()(ssh)
app.add_typer(webhooks.app, name="webhook")
app.add_typer(accounts.app, name="account")
app.add_typer(tokens.app, name="token")
