"""What applies to every request: error documents, strict headers, machines' own networks."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from provisioner.domain.storable import Unstorable, check
from provisioner.service.context import services_of
from provisioner.service.http.client_address import client_address, is_within, peer_address
from provisioner.service.http.problems import HttpError, answer_to
from provisioner.service.web.render import problem_page

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MACHINES = ("/boot/", "/agents/", "/images/")
_PROGRAMS = ("/v1/", "/openapi.json", "/healthz", "/metrics", *_MACHINES)
"""Paths for programs: errors are answered in JSON, elsewhere as pages."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as a problem (RFC 9457), to people as a page."""
    try:
        _require_text(request)
        _require_plain(request)
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        failed = answer_to(error)
    except ConnectionResetError:
        raise  # the client has disconnected
    except Exception as error:
        failed = answer_to(error)
    if request.path.startswith(_PROGRAMS):
        return failed.as_json()
    response = problem_page(request, failed.problem)
    response.headers.update(failed.headers)
    return response


def _require_text(request: web.Request) -> None:
    """An address with NUL, or with bytes that are not UTF-8, names nothing here."""
    try:
        check([request.path, request.query_string])
        is_text = "%00" not in request.raw_path
    except Unstorable:
        is_text = False
    if not is_text:
        raise HttpError(400, "bad_request", "an address must be UTF-8 text without NUL")


def _require_plain(request: web.Request) -> None:
    """A small compressed body may inflate to gigabytes, so none is accepted."""
    coding = request.headers.get("Content-Encoding", "identity")
    if coding.strip().lower() not in ("", "identity"):
        raise HttpError(
            415,
            "unsupported_media_type",
            "the body is compressed",
            next_action="send it without 'Content-Encoding'",
            headers={"Accept-Encoding": "identity"},
        )


async def strict_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add security headers, which machines do not need.

    It is a signal handler, to cover streams and files too.
    """
    response.headers.pop("Server", None)
    if request.path.startswith(_MACHINES):
        return
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if services_of(request).secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.path.startswith("/v1/"):
        response.headers.setdefault("Cache-Control", "no-store")


@web.middleware
async def machine_networks_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer machines' requests only on their networks: nobody else may get a boot token.

    A proxy in those networks must not carry strangers in: whom it names has to be there as well.
    """
    networks = services_of(request).machine_networks
    if networks and request.path.startswith(_MACHINES):
        asking = (peer_address(request), client_address(request))
        if not all(is_within(address, networks) for address in asking):
            raise HttpError(403, "not_a_machine", "this is only answered on the servers' network")
    return await handler(request)
