"""rackctl login and whoami."""

from typing import Annotated

import typer
from rich.table import Table

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands.secrets import read_secret
from provisioner.rackctl.config import checked_token, save_token
from provisioner.rackctl.output import Format, Output, sheet
from provisioner.rackctl.session import session


def login(
    context: typer.Context,
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Read the token from the first line of stdin.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Check an API token with the service and save it for the next commands."""
    shared = session(context)
    token = checked_token(read_secret("API token", from_stdin=token_stdin))
    with Api(shared.url, token) as api:
        me = api.get(path("me"))
    file = save_token(token)
    shared.screen.show(output, me, _account(me))
    shared.screen.note(f"Token saved in {file}.")


def whoami(context: typer.Context, output: Output = Format.TABLE) -> None:
    """Show the account that the token belongs to."""
    shared = session(context)
    me = shared.api.get(path("me"))
    shared.screen.show(output, me, _account(me))


def _account(me: JsonObject) -> Table:
    return sheet([(name, me.get(name)) for name in ("id", "name", "email", "role")])
