"""rackctl webhook: notifies your own program about your leases."""

import time
from typing import Annotated

import typer

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.confirm import Yes, confirm
from provisioner.rackctl.errors import ApiRefusal, Failed
from provisioner.rackctl.formats import local_time
from provisioner.rackctl.output import Format, Output, section, sheet
from provisioner.rackctl.session import Wide, session
from provisioner.rackctl.tables import Ids, Rows, moment, prose, rows

app = typer.Typer(no_args_is_help=True, help="Notify your own program about your leases.")

_POLL_S = 0.5
_PATIENCE_S = 30.0
"""How long to wait for a test: an attempt takes up to ten seconds, twice that with the lookup."""


@app.command("set")
def set_webhook(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="Address to send messages to, https://….")],
    yes: Yes = False,
    output: Output = Format.TABLE,
) -> None:
    """Set the address, and print the new signing secret to stdout, once."""
    shared = session(context)
    present = _present(shared.api)
    if present is not None:
        loss = "its signing secret stops working."
        confirm(f"replace the webhook {present['url']}: {loss}", [present["url"]], yes=yes)
    made = shared.api.put(path("webhook"), {"url": url})
    if output is Format.JSON:
        shared.screen.json(made)
    else:
        shared.screen.out.out(made["secret"], highlight=False)
        shared.screen.note(
            "Save it now: it cannot be shown again. Any earlier secret no longer works."
        )


@app.command()
def show(context: typer.Context, wide: Wide = False, output: Output = Format.TABLE) -> None:
    """Show the address and the outcome of the latest messages."""
    shared = session(context)
    found = shared.api.get(path("webhook"))
    if output is Format.JSON:
        shared.screen.json(found)
        return
    shared.screen.out.print(
        sheet([("address", found["url"]), ("set", local_time(found["created_at"]))])
    )
    if found["messages"]:
        shared.screen.out.print(section("Messages", _table(found["messages"])))


def _present(api: Api) -> JsonObject | None:
    """The webhook that is set now, if there is one."""
    try:
        return api.get(path("webhook"))
    except ApiRefusal as refusal:
        if refusal.code != "unknown_webhook":
            raise
        return None


def _table(messages: list[JsonObject]) -> Rows:
    short = Ids(message["id"] for message in messages)
    subjects = Ids(message["subject"] for message in messages)
    return rows(
        ["MESSAGE", "EVENT", "SUBJECT", "CREATED", "ATTEMPTS", prose("OUTCOME")],
        (
            (
                short(message["id"]),
                message["type"],
                subjects(message["subject"]),
                moment(message["created_at"]),
                message["attempts"],
                _outcome(message),
            )
            for message in messages
        ),
    )


def _outcome(message: JsonObject) -> str:
    if message["delivered_at"]:
        return f"delivered {local_time(message['delivered_at'])}"
    if message["next_try_at"]:
        return f"{message['error'] or 'waiting'}; next attempt {local_time(message['next_try_at'])}"
    return f"given up: {message['error']}"


@app.command()
def test(context: typer.Context, output: Output = Format.TABLE) -> None:
    """Send a test message and report its outcome."""
    shared = session(context)
    message = _outcome_of(shared.api, shared.api.post(path("webhook", "test")))
    shared.screen.show(output, message, _table([message]))
    if not message["delivered_at"]:
        raise Failed(
            f"the test was not delivered: {message['error'] or 'no outcome yet'}",
            next_action="fix the receiver, or set another address: rackctl webhook set URL",
        )


def _outcome_of(api: Api, message: JsonObject) -> JsonObject:
    """Return the message once it was attempted, or as it is if that takes too long."""
    until = time.monotonic() + _PATIENCE_S
    while message["next_try_at"] and time.monotonic() < until:
        time.sleep(_POLL_S)
        found = api.get(path("webhook"))["messages"]
        message = next((each for each in found if each["id"] == message["id"]), message)
    return message


@app.command()
def delete(context: typer.Context, yes: Yes = False) -> None:
    """Remove the webhook. Undelivered messages are dropped."""
    shared = session(context)
    present = _present(shared.api)
    if present is not None:
        loss = "undelivered messages are dropped."
        confirm(f"remove the webhook {present['url']}: {loss}", [present["url"]], yes=yes)
    shared.api.call("DELETE", path("webhook"))
    shared.screen.note("Webhook removed.")
