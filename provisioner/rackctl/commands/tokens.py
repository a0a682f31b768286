"""rackctl token: the API tokens of an account, without their secrets."""

from typing import Annotated

import typer

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands.accounts import find_account
from provisioner.rackctl.confirm import Yes, confirm
from provisioner.rackctl.output import Format, Output
from provisioner.rackctl.resolve import matches, only
from provisioner.rackctl.session import Wide, session
from provisioner.rackctl.tables import Ids, Rows, extra, moment, rows

app = typer.Typer(no_args_is_help=True, help="API tokens: list and revoke them.")

Account = Annotated[
    str | None,
    typer.Option("--account", help="Of this account (id or e-mail) instead of your own."),
]


@app.command("list")
def list_tokens(
    context: typer.Context,
    account: Account = None,
    wide: Wide = False,
    output: Output = Format.TABLE,
) -> None:
    """List the API tokens that work: what for, until when, and when last used, to the hour."""
    shared = session(context)
    found = _tokens(shared.api, account)
    shared.screen.show(output, {"items": found, "next": None}, _table(found))


def _tokens(api: Api, account: str | None) -> list[JsonObject]:
    account_id = find_account(api, account)["id"] if account else None
    return api.items(path("tokens"), {"account": account_id})


def _table(tokens: list[JsonObject]) -> Rows:
    short = Ids(token["id"] for token in tokens)
    return rows(
        ["TOKEN", "NAME", extra("CREATED"), "EXPIRES", "LAST USED"],
        (
            (
                short(token["id"]),
                token["name"],
                moment(token["created_at"]),
                moment(token["expires_at"]) if token["expires_at"] else "never",
                moment(token["last_used_at"]) if token["last_used_at"] else "never",
            )
            for token in tokens
        ),
    )


@app.command()
def revoke(
    context: typer.Context,
    which: Annotated[
        str,
        typer.Argument(metavar="TOKEN", help="The token's name, id, or first characters of it."),
    ],
    account: Account = None,
    yes: Yes = False,
) -> None:
    """Revoke an API token. It stops working at once."""
    shared = session(context)
    found = [each for each in _tokens(shared.api, account) if matches(each, which, each["name"])]
    token = only(
        found,
        which,
        what="token",
        label=lambda item: str(item["name"]),
        see="see: rackctl token list",
    )
    warning = f"revoke the token {token['name']}: programs that use it stop working at once."
    confirm(warning, [token["name"], token["id"]], yes=yes)
    shared.api.call("DELETE", path("tokens", token["id"]))
    shared.screen.note(f"Token {token['name']} revoked.")
