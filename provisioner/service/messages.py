"""Reading the messages of machines (`agent.protocol`) from requests."""

from typing import TypeVar

from aiohttp import web

from agent.protocol import Message
from provisioner.service.api.endpoint import read_limited

_LIMIT = 64 * 1024
_M = TypeVar("_M", bound=Message)


async def read_message(request: web.Request, kind: type[_M]) -> _M:
    """Raises ProtocolError, and HttpError when it is too long."""
    return kind.from_json(await read_limited(request, _LIMIT))
