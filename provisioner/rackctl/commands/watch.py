"""rackctl watch: all servers, live."""

import time
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from provisioner.rackctl.client import JsonObject, path
from provisioner.rackctl.commands.server_page import server_table
from provisioner.rackctl.errors import Unreachable
from provisioner.rackctl.output import Format, Output
from provisioner.rackctl.session import session


def watch(
    context: typer.Context,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between updates.")] = 2.0,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Exit after this many updates. Without it, never.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Show all servers, live; Ctrl-C exits. With `-o json`, one list per line.

    Survives a restart of the service.
    """
    shared = session(context)

    def fetch() -> JsonObject:
        return {"items": shared.api.items(path("servers")), "next": None}

    seen = fetch()
    if output is Format.JSON:
        shared.screen.json_line(seen)
    with Live(
        server_table(seen["items"]) if output is Format.TABLE else Text(""),
        console=shared.screen.out if output is Format.TABLE else shared.screen.err,
        auto_refresh=False,
    ) as live:
        done = 1
        while rounds is None or done < rounds:
            time.sleep(interval)
            done += 1
            try:
                seen = fetch()
            except Unreachable as error:
                shared.screen.note(error.reason)
                continue
            if output is Format.JSON:
                shared.screen.json_line(seen)
            else:
                live.update(server_table(seen["items"]), refresh=True)
