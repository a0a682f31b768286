"""Asks before anything destructive: one types the name of the thing, or passes `--yes`."""

import sys
from collections.abc import Collection
from typing import Annotated

import typer

from provisioner.rackctl.errors import Failed, UsageFault
from provisioner.rackctl.formats import plain

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def confirm(warning: str, answers: Collection[str], *, yes: bool) -> None:
    """Go on only if one of `answers` is typed; the first one is asked for.

    Raises UsageFault without a terminal to ask at, Failed if something else is typed.
    """
    if yes:
        return
    wanted = plain(next(iter(answers)))
    if not sys.stdin.isatty():
        raise UsageFault(
            f"{plain(warning)} This needs a confirmation, and there is no terminal to ask at",
            next_action="pass --yes to go ahead without being asked",
        )
    typed = str(
        typer.prompt(
            f"{plain(warning)}\nType {wanted} to go ahead",
            default="",
            show_default=False,
            err=True,
        )
    )
    if typed.strip() not in answers:
        raise Failed("not confirmed; nothing was done", next_action=f"type {wanted} to go ahead")
