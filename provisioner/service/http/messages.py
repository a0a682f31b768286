"""Reading the messages of machines (`agent.protocol`) from requests."""

from typing import TypeVar

from aiohttp import web
from pydantic_core import from_json

from agent.protocol import Message, ProtocolError
from provisioner.service.http.endpoint import read_limited
from provisioner.service.http.unambiguous import require_unambiguous

_LIMIT = 64 * 1024
_M = TypeVar("_M", bound=Message)


async def read_message(request: web.Request, kind: type[_M]) -> _M:
    """Raises ProtocolError, and HttpError when it is too long."""
    body = await read_limited(request, _LIMIT)
    try:
        # A third of the time that `Message.from_json` takes, which runs without any library
        require_unambiguous(body)
        data = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ProtocolError(f"{kind.__name__}: not JSON: {error}") from error
    return kind.from_dict(data)
