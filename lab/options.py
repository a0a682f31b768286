"""What the commands of the virtual rack share: options, and how errors are reported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer

from lab.rack.errors import RackError

RackName = Annotated[str, typer.Option("--name", help="Name of the rack and its namespace.")]
ServerName = Annotated[str, typer.Argument(metavar="SERVER", help="A server, such as r1-u01.")]


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


@contextmanager
def errors_told() -> Iterator[None]:
    """End the command with exit status 1 and the error's message."""
    try:
        yield
    except RackError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
