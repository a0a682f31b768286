"""Log in with e-mail and password, and log out."""

from dataclasses import dataclass, field

from aiohttp import web

from provisioner.accounts import passwords
from provisioner.accounts.accounts import find_account
from provisioner.accounts.actor import actor_of
from provisioner.accounts.credentials import log_in
from provisioner.accounts.sessions import end_session
from provisioner.service.context import services_of
from provisioner.service.http.client_address import client_address, source
from provisioner.service.web import session as sessions
from provisioner.service.web.devices import known_device, remember_device
from provisioner.service.web.render import open_page
from provisioner.service.web.throttle import WINDOW, Counts, Throttle, begin, give_back


@dataclass(frozen=True, slots=True)
class Throttles:
    """Strangers are limited in three ways, so that none of them locks out others; a browser that
    has logged in to the account before has a limit of its own."""

    by_device: Throttle = field(default_factory=lambda: Throttle(limit=10))
    by_name_and_address: Throttle = field(default_factory=lambda: Throttle(limit=10))
    by_name: Throttle = field(default_factory=lambda: Throttle(limit=100))
    by_address: Throttle = field(default_factory=lambda: Throttle(limit=50))


THROTTLES = web.AppKey("login_throttles", Throttles)

_LONGEST_EMAIL = 200
_WRONG = "Wrong e-mail or password."
_TOO_MANY = "Too many failed logins. Try again in 15 minutes."
_BUSY = "Many people are logging in just now. Try again in a moment."


def setup(app: web.Application) -> None:
    app[THROTTLES] = Throttles()


async def form(request: web.Request) -> web.StreamResponse:
    target = _target(request.query.get("next", ""))
    if await sessions.visitor(request) is not None:
        raise web.HTTPSeeOther(target)
    return _page(request, target)


async def submit(request: web.Request) -> web.StreamResponse:
    """The answer is the same, and takes equally long, whether or not the account exists."""
    services = services_of(request)
    fields = await sessions.checked_form(request, sessions.current(request))
    email = str(fields.get("email", "")).strip().lower()[: _LONGEST_EMAIL + 1]
    password = str(fields.get("password", ""))[: passwords.LONGEST + 1]
    target = _target(str(fields.get("next", "")))
    device = known_device(request, email)
    counts = _counts(request, email, device)
    now = services.clock()
    if not begin(counts, now):
        wait_s = int(WINDOW.total_seconds())
        return _page(request, target, email, error=_TOO_MANY, status=429, wait_s=wait_s)

    async with services.database.read() as database:
        account = await find_account(database, email) if "@" in email else None
    usable = account is not None and account.disabled_at is None
    known = account.password_hash if account is not None and usable else ""
    try:
        right = await passwords.matches(known, password)
    except passwords.PasswordsBusy:
        give_back(counts, now)
        return _page(request, target, email, error=_BUSY, status=503, wait_s=2)
    if account is None or not right:
        return _page(request, target, email, error=_WRONG, status=401)
    async with services.database.write() as database:
        entered = await log_in(database, account, actor=actor_of(account), now=now)
    if entered is None:
        return _page(request, target, email, error=_WRONG, status=401)
    give_back(counts, now)
    response = web.Response(status=303, headers={"Location": target})
    # A new session, so that one planted before the login is worthless.
    sessions.set_cookie(services, response, sessions.begin(*entered))
    if device is None:
        remember_device(services, response, email)
    return response


def _counts(request: web.Request, email: str, device: str | None) -> Counts:
    """What an attempt counts against."""
    throttles = request.app[THROTTLES]
    if device is not None:
        return [(throttles.by_device, device)]
    address = source(client_address(request))
    return [
        (throttles.by_name_and_address, f"{email} {address}"),
        (throttles.by_name, email),
        (throttles.by_address, address),
    ]


async def logout(request: web.Request) -> web.StreamResponse:
    """End the session itself: a copy of its cookie is worthless too."""
    services, session = services_of(request), sessions.current(request)
    await sessions.checked_form(request, session)
    if session.id:
        async with services.database.write() as database:
            await end_session(database, session.id, services.clock())
    response = web.Response(status=303, headers={"Location": "/login"})
    sessions.drop_cookie(services, response)
    return response


def _page(
    request: web.Request,
    target: str,
    email: str = "",
    *,
    error: str = "",
    status: int = 200,
    wait_s: int = 0,
) -> web.Response:
    session = sessions.current(request)
    response = open_page(
        request, "login.html", session, status=status, target=target, email=email, error=error
    )
    if wait_s:
        response.headers["Retry-After"] = str(wait_s)
    return response


def _target(wanted: str) -> str:
    """Where to go after the login: a path on this site, never another site."""
    own = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if own and wanted.isprintable() else "/"
