"""rackctl account: who may log in, and their API tokens."""

from enum import StrEnum
from typing import Annotated

import typer

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands.durations import seconds
from provisioner.rackctl.commands.secrets import read_secret
from provisioner.rackctl.confirm import Yes, confirm
from provisioner.rackctl.formats import duration as span
from provisioner.rackctl.output import Format, Output
from provisioner.rackctl.resolve import matches, only
from provisioner.rackctl.session import Wide, session
from provisioner.rackctl.tables import Ids, Rows, extra, moment, rows

app = typer.Typer(no_args_is_help=True, help="Accounts and their API tokens.")

_DEFAULT = "default"
"""In place of a limit: the site's."""

_DEFAULT = "default"
"""In place of a limit: the site's."""

Account = Annotated[str, typer.Argument(help="The account's id or e-mail address.")]


class Role(StrEnum):
    CUSTOMER = "customer"
    OPERATOR = "operator"
    ADMIN = "admin"


@app.command("list")
def list_accounts(
    context: typer.Context, wide: Wide = False, output: Output = Format.TABLE
) -> None:
    """List the accounts."""
    shared = session(context)
    found = shared.api.items(path("accounts"))
    shared.screen.show(output, {"items": found, "next": None}, _table(found))


def _table(accounts: list[JsonObject]) -> Rows:
    short = Ids(account["id"] for account in accounts)
    return rows(
        ["ACCOUNT", "NAME", "E-MAIL", "ROLE", extra("CREATED"), "DISABLED"],
        (
            (
                short(account["id"]),
                account["name"],
                account["email"],
                account["role"],
                moment(account.get("created_at")),
                moment(account.get("disabled_at")),
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
    expires: Annotated[
        str,
        typer.Option(
            "--expires",
            "--expires-in",
            metavar="DURATION|never",
            help="Lifetime, such as 30d; never for a token that does not expire.",
        ),
    ] = "90d",
    output: Output = Format.TABLE,
) -> None:
    """Create an API token and print it to stdout, once, ready for `rackctl login`."""
    body: JsonObject = {
        "name": name,
        "expires_in_s": None if expires == "never" else seconds(expires),
    }
    shared = session(context)
    answer = shared.api.post(
        path("accounts", find_account(shared.api, account)["id"], "tokens"), body
    )
    if output is Format.JSON:
        shared.screen.json(answer)
    else:
        shared.screen.out.out(answer["token"], highlight=False)
        shared.screen.note("Save it now: it cannot be shown again.")


@app.command()
def disable(
    context: typer.Context, account: Account, yes: Yes = False, output: Output = Format.TABLE
) -> None:
    """End all logins and tokens of an account at once. Its leases run to their end."""
    shared = session(context)
    found = find_account(shared.api, account)
    warning = f"disable {found['email']}: all of its logins and tokens end at once."
    confirm(warning, [found["email"], found["id"]], yes=yes)
    answer = shared.api.post(path("accounts", found["id"], "disable"))
    shared.screen.show(output, answer, _table([answer]))


@app.command()
def enable(context: typer.Context, account: Account, output: Output = Format.TABLE) -> None:
    """Let a disabled account log in again. Its tokens from before stay revoked."""
    shared = session(context)
    found = find_account(shared.api, account)
    answer = shared.api.post(path("accounts", found["id"], "enable"))
    shared.screen.show(output, answer, _table([answer]))


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
    where = path("accounts", find_account(shared.api, account)["id"], "quota")
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


@app.command("reset-password")
def reset_password(
    context: typer.Context, account: Account, yes: Yes = False, output: Output = Format.TABLE
) -> None:
    """Give an account a one-time password, printed to stdout. All of its sessions end."""
    shared = session(context)
    found = find_account(shared.api, account)
    warning = f"reset the password of {found['email']}: the present one stops working."
    confirm(warning, [found["email"], found["id"]], yes=yes)
    answer = shared.api.post(path("accounts", found["id"], "password"))
    if output is Format.JSON:
        shared.screen.json(answer)
    else:
        shared.screen.out.out(answer["password"], highlight=False)
        shared.screen.note("It serves for one login, in which a new one has to be chosen.")


def find_account(api: Api, account: str) -> JsonObject:
    """The account with this e-mail address, id, or first characters of an id."""
    found = [
        each
        for each in api.items(path("accounts"))
        if matches(each, account.lower(), each["email"].lower())
    ]
    return only(
        found,
        account,
        what="account",
        label=lambda a: str(a["email"]),
        see="see: rackctl account list",
    )
