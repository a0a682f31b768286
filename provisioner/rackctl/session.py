"""What every command shares: the connection to the provisioner and the screen."""

import typer

from provisioner.rackctl.client import Api
from provisioner.rackctl.config import checked_token, saved_token
from provisioner.rackctl.errors import UsageFault
from provisioner.rackctl.output import Screen


class Session:
    """Made from the options before the command; connects when a command first asks."""

    def __init__(self, url: str, token: str, *, colour: bool) -> None:
        self.url = url
        self.screen = Screen(colour=colour)
        self._token = token
        self._api: Api | None = None

    @property
    def api(self) -> Api:
        if self._api is None:
            token = checked_token(self._token) if self._token else saved_token()
            if not token:
                raise UsageFault(
                    "not logged in",
                    next_action="run `rackctl login --token-stdin`, or set IRONLEASE_TOKEN",
                )
            self._api = Api(self.url, token)
        return self._api

    def close(self) -> None:
        if self._api is not None:
            self._api.close()


def session(context: typer.Context) -> Session:
    """The session of the command that runs."""
    found = context.find_object(Session)
    if found is None:
        raise RuntimeError("the root callback makes the session before any command")
    return found
