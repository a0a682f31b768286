"""rackctl account: who may log in, and their API tokens."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands.secrets import read_secret
from provisioner.rackctl.errors import Failed
from provisioner.rackctl.formats import duration as span
from provisioner.rackctl.formats import local_time, parse_duration
from provisioner.rackctl.output import Format, Output, rows
from provisioner.rackctl.session import session

app = typer.Typer(no_args_is_help=True, help="Accounts and their API tokens.")

_DEFAULT = "default"
"""In place of a limit: the site's."""

Account = Annotated[str, typer.Argument(help="The account's id or e-mail address.")]


class Role(StrEnum):
    CUSTOMER = "customer"
    OPERATOR = "operator"
    ADMIN = "admin"


@app.command("list")
def list_accounts(context: typer.Context, output: Output = Format.TABLE) -> None:
    """List the accounts."""
    shared = session(context)
    found = shared.api.items(path("accounts"))
    shared.screen.show(output, {"items": found, "next": None}, _table(found))


def _table(accounts: list[JsonObject]) -> Table:
    return rows(
        ["ACCOUNT", "NAME", "E-MAIL", "ROLE", "CREATED", "DISABLED"],
        (
            (
                account["id"],
                account["name"],
                account["email"],
                account["role"],
                local_time(account.get("created_at")),
                local_time(account.get("disabled_at")),
            )
            for account in accounts
        ),
    )


@app.command()
def create(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Option(help="Name of the person or organisation.")],
    email: Annotated[str, typer.Option(help="E-mail address to log in with.")],
    role: Annotated[Role, typer.Option(help="What the account may do.")] = Role.CUSTOMER,
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin",
            help="Read a password for the web pages from stdin. Without it, only tokens work.",
        ),
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Create an account."""
    shared = session(context)
    body: JsonObject = {"name": name, "email": email, "role": role.value}
    if password_stdin:
        body["password"] = read_secret("password", from_stdin=True)
    account = shared.api.post(path("accounts"), body)
    shared.screen.show(output, account, _table([account]))


@app.command()
def token(
    context: typer.Context,
    account: Account,
    name: Annotated[str, typer.Option(help="What the token is for.")],
    expires_in: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Lifetime, such as 30d. Default: none.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Create an API token and print it to stdout, once, ready for `rackctl login`."""
    body: JsonObject = {"name": name}
    if expires_in is not None:
        body["expires_in_s"] = seconds(expires_in)
    shared = session(context)
    answer = shared.api.post(path("accounts", _resolve(shared.api, account), "tokens"), body)
    if output is Format.JSON:
        shared.screen.json(answer)
    else:
        shared.screen.out.out(answer["token"], highlight=False)
        shared.screen.note("Save it now: it cannot be shown again.")


@app.command()
def disable(context: typer.Context, account: Account, output: Output = Format.TABLE) -> None:
    """End all logins and tokens of an account at once. Its leases run to their end."""
    shared = session(context)
    answer = shared.api.post(path("accounts", _resolve(shared.api, account), "disable"))
    shared.screen.show(output, answer, _table([answer] if answer else []))


@app.command()
def quota(
    context: typer.Context,
    account: Account,
    servers: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Servers at the same time, or 'default'."),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(help="Longest reservation, such as 30d, or 'default'."),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Show or set how many servers an account may reserve, and for how long."""
    shared = session(context)
    body: JsonObject = {}
    if servers is not None:
        body["servers"] = None if servers == _DEFAULT else _number(servers)
    if duration is not None:
        body["duration_s"] = None if duration == _DEFAULT else seconds(duration)
    where = path("accounts", _resolve(shared.api, account), "quota")
    answer = shared.api.call("PATCH", where, body=body)
    limits = answer["quota"]
    line = (
        answer["email"],
        limits["servers"],
        span(limits["duration_s"]),
        "own" if limits["own"] else "the site's",
    )
    shared.screen.show(output, answer, rows(["E-MAIL", "SERVERS", "LONGEST", "LIMITS"], [line]))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not a number")
    return int(text)


def _resolve(api: Api, account: str) -> str:
    if "@" not in account:
        return account
    for found in api.items(path("accounts")):
        if found["email"].lower() == account.lower():
            return str(found["id"])
    raise Failed(f"there is no account {account!r}", next_action="see: rackctl account list")


def seconds(text: str) -> int:
    """Return a duration option in seconds. Raises a usage error if it is not a duration."""
    try:
        return int(parse_duration(text).total_seconds())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
