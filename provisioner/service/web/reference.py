"""The reference of the API at `/docs`: its OpenAPI document as a page for people.

It is the same for everybody, whoever is logged in: rendered once, and kept by browsers for a while.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import aiohttp_jinja2
from aiohttp import ETag, web
from jinja2 import Environment

from provisioner.service.web.api_document import Json, read

_HEADERS = {"Cache-Control": "public, max-age=300", "Vary": "Accept-Encoding"}


@dataclass(frozen=True)
class ReferencePage:
    document: Callable[[], Json]
    """The API's OpenAPI document."""
    site: str
    environment: Environment

    @cached_property
    def text(self) -> str:
        template = self.environment.get_template("reference.html")
        return template.render(reference=read(self.document(), self.site), visitor=None)

    @cached_property
    def etag(self) -> ETag:
        return ETag(sha256(self.text.encode()).hexdigest()[:16], is_weak=True)


REFERENCE = web.AppKey("reference", ReferencePage)


def setup(app: web.Application, document: Callable[[], Json], site: str) -> None:
    """`site` is the URL that people reach the service by. Templates are set up before."""
    environment = aiohttp_jinja2.get_env(app)
    app[REFERENCE] = ReferencePage(document, site.rstrip("/"), environment)


async def show(request: web.Request) -> web.StreamResponse:
    page = request.app[REFERENCE]
    known = {etag.value for etag in request.if_none_match or ()}
    if page.etag.value in known:
        response = web.Response(status=304)
    else:
        response = web.Response(text=page.text, content_type="text/html")
        response.enable_compression()
    response.etag = page.etag
    response.headers.update(_HEADERS)
    return response
