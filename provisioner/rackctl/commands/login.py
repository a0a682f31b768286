"""rackctl login, whoami and password."""

from typing import Annotated

import typer
from rich.table import Table

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands.secrets import read_secret
from provisioner.rackctl.config import checked_token, save_token
from provisioner.rackctl.errors import UsageFault
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


def password(
    context: typer.Context,
    from_stdin: Annotated[
        bool,
        typer.Option(
            "--stdin", help="Read the present and the new password from two lines of stdin."
        ),
    ] = False,
) -> None:
    """Change your own password. All of your sessions end; API tokens keep working."""
    shared = session(context)
    present = read_secret("present password", from_stdin=from_stdin)
    new = read_secret("new password", from_stdin=from_stdin)
    if not from_stdin and read_secret("new password again", from_stdin=False) != new:
        raise UsageFault("the new passwords differ", next_action="type the same one twice")
    shared.api.call("PUT", path("me", "password"), body={"current": present, "new": new})
    shared.screen.note("Password changed.")


def _account(me: JsonObject) -> Table:
    return sheet([(name, me.get(name)) for name in ("id", "name", "email", "role")])
