"""Server names for shell completion."""

import typer

from provisioner.rackctl.client import Api, path
from provisioner.rackctl.config import DEFAULT_URL, token_for
from provisioner.rackctl.errors import RackctlError

_ANSWER_WITHIN_S = 1.0


def server_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return names with this prefix; none if the service does not answer, as a shell cannot show
    an error here."""
    options = context.find_root().params
    try:
        token = token_for(options.get("token", ""))
        with Api(options.get("url") or DEFAULT_URL, token, timeout_s=_ANSWER_WITHIN_S) as api:
            names = [server["name"] for server in api.items(path("servers"))]
    except RackctlError:
        return []
    return [name for name in names if name.startswith(incomplete)]
