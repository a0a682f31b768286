"""Requests on servers: file one, and show its outcome."""

from collections.abc import Iterable

import typer
from rich.table import Table

from provisioner.rackctl.client import JsonObject
from provisioner.rackctl.formats import local_time
from provisioner.rackctl.output import Format, rows
from provisioner.rackctl.session import session


def file(context: typer.Context, address: str, body: JsonObject, output: Format) -> None:
    """File a request; `address` is the endpoint of the server's or reservation's requests."""
    shared = session(context)
    request = shared.api.post(address, body)
    shared.screen.show(output, request, request_table([request] if request else []))


def show_all(context: typer.Context, address: str, output: Format) -> None:
    shared = session(context)
    found = shared.api.items(address)
    shared.screen.show(output, {"items": found, "next": None}, request_table(found))


def request_table(requests: Iterable[JsonObject]) -> Table:
    return rows(
        ["REQUEST", "SERVER", "VERB", "FILED", "ENDED", "OUTCOME", "BY", "WHY", "FAILURE"],
        (
            (
                request["id"],
                request["server"],
                request["verb"],
                local_time(request["filed_at"]),
                local_time(request["ended_at"]),
                request["outcome"],
                request["actor"],
                request["reason"],
                request["failure"],
            )
            for request in requests
        ),
    )
