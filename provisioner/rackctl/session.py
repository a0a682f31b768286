"""Shared by all commands: the connection to the provisioner, and the screen."""

from typing import Annotated

import typer

from provisioner.rackctl.client import Api
from provisioner.rackctl.config import token_for
from provisioner.rackctl.output import Screen


class Session:
    """Made from the options before the command; connects at a command's first request."""

    def __init__(self, url: str, token: str, *, colour: bool) -> None:
        self.url = url
        self.screen = Screen(colour=colour)
        self._token = token
        self._api: Api | None = None

    @property
    def api(self) -> Api:
        if self._api is None:
            self._api = Api(self.url, token_for(self._token))
        return self._api

    def close(self) -> None:
        if self._api is not None:
            self._api.close()


def session(context: typer.Context) -> Session:
    """The session of the running command."""
    found = context.find_object(Session)
    if found is None:
        raise RuntimeError("the root callback creates the session before any command")
    return found


def _widen(context: typer.Context, wanted: bool) -> bool:
    if wanted:
        session(context).screen.widen()
    return wanted


Wide = Annotated[
    bool,
    typer.Option(
        "--wide", help="Show every column, full ids and times, one line each.", callback=_widen
    ),
]
"""The option takes effect by itself; commands only have to declare it."""
