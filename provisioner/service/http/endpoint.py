"""One endpoint of the API: declared in the table, typed by its handler's signature.

A handler takes a :class:`Call` and, where it wants them, a `body` and a `query` (pydantic models);
it returns a pydantic model, None (204), or a stream it has sent itself.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar, get_type_hints

from aiohttp import web
from aiohttp.http import HttpProcessingError
from pydantic import BaseModel, ConfigDict, ValidationError

from provisioner.domain.access import Actor, Permission
from provisioner.domain.storable import Unstorable, check, clean
from provisioner.service.context import Services, services_of
from provisioner.service.http.bearer import actor_by_token
from provisioner.service.http.connections import BodyTooSlow
from provisioner.service.http.problems import HttpError, invalid_request, unstorable
from provisioner.service.http.unambiguous import require_unambiguous

M = TypeVar("M", bound=BaseModel)

BODY_LIMIT = 256 * 1024


class Body(BaseModel):
    """A request body: no unknown names, no `"3"` for 3. Every subclass names its schema by
    `title` and shows an example."""

    model_config = ConfigDict(
        extra="forbid", strict=True, populate_by_name=True, use_attribute_docstrings=True
    )


@dataclass(frozen=True, slots=True)
class Call:
    """What every handler knows about its request."""

    request: web.Request
    services: Services
    actor: Actor

    def path(self, name: str) -> str:
        return self.request.match_info[name]

    def now(self) -> datetime:
        return self.services.clock()


@dataclass(frozen=True)
class Endpoint:
    """`path` is below `/v1`; `permission` is what its caller needs."""

    operation_id: str
    """Name of the operation in the API's document; independent of the handler's name."""
    method: str
    path: str
    permission: Permission
    handler: Callable[..., Awaitable[Any]]
    status: int = 200
    body_limit: int = BODY_LIMIT
    """The longest body accepted, in bytes."""

    @property
    def full_path(self) -> str:
        return f"/v1{self.path}"

    @cached_property
    def hints(self) -> dict[str, Any]:
        return get_type_hints(self.handler)

    @property
    def body(self) -> type[BaseModel] | None:
        return self.hints.get("body")

    @property
    def query(self) -> type[BaseModel] | None:
        return self.hints.get("query")

    @property
    def answer(self) -> Any:
        """The response's model; NoneType for none, StreamResponse for server-sent events."""
        return self.hints["return"]

    @property
    def answer_model(self) -> type[BaseModel] | None:
        answer = self.answer
        is_model = isinstance(answer, type) and issubclass(answer, BaseModel)
        return answer if is_model else None

    @property
    def summary(self) -> str:
        return (self.handler.__doc__ or "").strip()

    @property
    def path_names(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        actor = await actor_by_token(request)
        actor.require(self.permission)
        arguments: dict[str, Any] = {}
        if self.query is not None:
            arguments["query"] = read_query(request, self.query)
        if self.body is not None:
            arguments["body"] = await _read_body(request, self.body, self.body_limit)
        call = Call(request, services_of(request), actor)
        answer = await self.handler(call, **arguments)
        if isinstance(answer, web.StreamResponse):
            return answer
        if answer is None:
            return web.Response(status=204)
        return web.Response(
            text=answer.model_dump_json(by_alias=True),
            status=self.status,
            content_type="application/json",
        )


def read_query(request: web.Request, model: type[M]) -> M:
    """Parse the query. Raises :class:`HttpError` if a parameter is repeated, unknown or invalid."""
    repeated = {k for k in request.query if len(request.query.getall(k)) > 1}
    if repeated:
        raise HttpError(422, "invalid_request", f"given twice: {', '.join(sorted(repeated))}")
    try:
        check(dict(request.query))
        return model.model_validate(dict(request.query))
    except Unstorable as error:
        raise unstorable(error) from error
    except ValidationError as error:
        raise invalid_request(error) from error


async def _read_body(request: web.Request, model: type[BaseModel], limit: int) -> BaseModel:
    if request.content_type != "application/json":
        raise HttpError(
            415,
            "unsupported_media_type",
            "the body must be JSON",
            next_action="send it with 'Content-Type: application/json'",
        )
    sent = await read_limited(request, limit)
    require_unambiguous(sent)
    try:
        body = model.model_validate_json(sent)
    except ValidationError as error:
        raise invalid_request(error) from error
    _require_storable(body)
    return body


def _require_storable(sent: BaseModel) -> None:
    """Raises :class:`HttpError` with the place of what no table could hold."""
    try:
        check(sent.model_dump(by_alias=True))
    except Unstorable as error:
        raise unstorable(error) from error


async def read_limited(request: web.Request, limit: int) -> bytes:
    """Read the body; refuse it as soon as it is known to be longer than `limit` bytes."""
    body = bytearray()
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except BodyTooSlow as error:
        raise _too_slow() from error
    except (HttpProcessingError, web.RequestPayloadError) as error:
        raise HttpError(
            400, "bad_request", f"the body cannot be read: {clean(str(error), 200)}"
        ) from error
    return bytes(body)


def _too_slow() -> HttpError:
    return HttpError(
        408,
        "too_slow",
        "the body arrives too slowly",
        next_action="send the whole request at once",
        headers={"Connection": "close"},
    )


def _too_large(limit: int) -> HttpError:
    return HttpError(413, "too_large", f"the body may have {limit} bytes at most")
