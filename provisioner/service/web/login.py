"""Log in with e-mail and password, and log out."""

from aiohttp import web

from provisioner.accounts import passwords
from provisioner.accounts.accounts import find_account
from provisioner.accounts.actor import actor_of
from provisioner.accounts.credentials import log_in
from provisioner.accounts.sessions import end_session
from provisioner.service.context import services_of
from provisioner.service.web import session as sessions
from provisioner.service.web.render import open_page
from provisioner.service.web.throttle import Throttle

BY_NAME = web.AppKey("logins_by_name", Throttle)
BY_ADDRESS = web.AppKey("logins_by_address", Throttle)

_WRONG = "Wrong e-mail or password."
_TOO_MANY = "Too many failed logins. Try again in 15 minutes."


def setup(app: web.Application) -> None:
    app[BY_NAME] = Throttle(limit=10)
    app[BY_ADDRESS] = Throttle(limit=50)


async def form(request: web.Request) -> web.StreamResponse:
    target = _target(request.query.get("next", ""))
    if await sessions.visitor(request) is not None:
        raise web.HTTPSeeOther(target)
    return _page(request, target)


async def submit(request: web.Request) -> web.StreamResponse:
    """The answer is the same, and takes equally long, whether or not the account exists."""
    services = services_of(request)
    fields = await sessions.checked_form(request, sessions.current(request))
    email = str(fields.get("email", "")).strip().lower()
    password = str(fields.get("password", ""))[: passwords.LONGEST + 1]
    target = _target(str(fields.get("next", "")))
    by_name, by_address = request.app[BY_NAME], request.app[BY_ADDRESS]
    address = request.remote or ""
    now = services.clock()
    if by_name.closed(email, now) or by_address.closed(address, now):
        return _page(request, target, email=email, error=_TOO_MANY, status=429)

    async with services.database.read() as database:
        account = await find_account(database, email) if "@" in email else None
    usable = account is not None and account.disabled_at is None
    right = await passwords.matches(account.password_hash if account and usable else "", password)
    if account is None or not right:
        by_name.failed(email, now)
        by_address.failed(address, now)
        return _page(request, target, email=email, error=_WRONG, status=401)
    async with services.database.write() as database:
        entered = await log_in(database, account, actor=actor_of(account), now=now)
    if entered is None:
        return _page(request, target, email=email, error=_WRONG, status=401)
    by_name.passed(email)
    response = web.Response(status=303, headers={"Location": target})
    # A new session, so that one planted before the login is worthless.
    sessions.set_cookie(services, response, sessions.begin(*entered))
    return response


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
    request: web.Request, target: str, *, email: str = "", error: str = "", status: int = 200
) -> web.Response:
    session = sessions.current(request)
    return open_page(
        request, "login.html", session, status=status, target=target, email=email, error=error
    )


def _target(wanted: str) -> str:
    """Where to go after the login: a path on this site, never another site."""
    own = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if own and wanted.isprintable() else "/"
