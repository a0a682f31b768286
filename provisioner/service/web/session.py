"""Web sessions in one sealed cookie, and the CSRF token in every form.

The cookie holds only who logged in and when. It stops working when it is twelve hours old, at
logout, when the account is disabled, and when its password changes; so does a copy of it.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from functools import wraps
from urllib.parse import parse_qsl, quote

from aiohttp import web
from multidict import MultiDict, MultiMapping

from provisioner.accounts.actor import actor_of
from provisioner.accounts.sessions import LIFETIME, is_live
from provisioner.domain.access import Actor, Permission
from provisioner.domain.storable import check
from provisioner.service.context import Services, services_of
from provisioner.service.http.endpoint import read_limited
from provisioner.service.http.problems import HttpError
from provisioner.service.http.streams import end_stream_unless
from provisioner.store.secrets import SecretUnreadable
from provisioner.store.tables import Account, WebSession

LIFETIME_S = int(LIFETIME.total_seconds())
FORM_LIMIT = 512 * 1024
"""Bytes of a form; 64 KiB of user data may take three times that when it is encoded."""
_MOST_FIELDS = 1000

Form = MultiMapping[str]


@dataclass(frozen=True, slots=True)
class Session:
    """`account` is empty before a login: the login form needs a CSRF token too."""

    issued_at: float
    id: str = ""
    """Of its row, which says whether it was ended."""
    account: str = ""
    password: str = ""
    """Digest of the password's hash at the time of the login."""
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is viewing a page."""

    session: Session
    account: Account
    services: Services

    @property
    def actor(self) -> Actor:
        return actor_of(self.account)

    @property
    def is_operator(self) -> bool:
        return self.actor.may(Permission.OPERATE)


def _cookie_name(services: Services) -> str:
    # The prefix makes browsers insist on https, this exact host and the whole site (RFC 6265bis).
    return "__Host-ironlease" if services.secure else "ironlease"


def begin(row: WebSession, account: Account) -> Session:
    """What the cookie of a session that has begun holds."""
    return Session(row.created_at.timestamp(), row.id, account.id, _digest(account))


def _digest(account: Account) -> str:
    return hashlib.sha256(account.password_hash.encode()).hexdigest()[:16]


def set_cookie(services: Services, response: web.StreamResponse, session: Session) -> None:
    response.set_cookie(
        _cookie_name(services),
        services.secret_box.seal(json.dumps(asdict(session))),
        max_age=LIFETIME_S,
        path="/",
        secure=services.secure,
        httponly=True,
        samesite="Lax",
    )


def drop_cookie(services: Services, response: web.StreamResponse) -> None:
    response.del_cookie(
        _cookie_name(services),
        path="/",
        secure=services.secure,
        httponly=True,
        samesite="Lax",
    )


def current(request: web.Request) -> Session:
    """The request's session; a new one without an account when there is no valid one."""
    services = services_of(request)
    now = services.clock().timestamp()
    sealed = request.cookies.get(_cookie_name(services))
    if sealed is not None:
        try:
            session = Session(**json.loads(services.secret_box.open(sealed)))
        except (SecretUnreadable, ValueError, TypeError):
            return Session(now)
        if 0 <= now - session.issued_at < LIFETIME_S:
            return session
    return Session(now)


async def visitor(request: web.Request) -> Visitor | None:
    """Who is logged in, or None. A stream of this request ends soon after the session does."""
    services = services_of(request)
    session = current(request)
    account = await _logged_in(services, session)
    if account is None:
        return None

    async def is_valid() -> bool:
        return await _logged_in(services, session) is not None

    end_stream_unless(request, is_valid)
    return Visitor(session, account, services)


async def _logged_in(services: Services, session: Session) -> Account | None:
    """The account of a session that has not ended."""
    if not session.account:
        return None
    async with services.database.read() as database:
        account = await database.get(Account, session.account)
        if account is None or account.disabled_at is not None:
            return None
        live = await is_live(database, session.id, account.id, services.clock())
    return account if live and _digest(account) == session.password else None


async def checked_form(request: web.Request, session: Session) -> Form:
    """A form's fields, if it was sent from one of our pages as shown to this session."""
    fields = await _read_form(request)
    token = fields.get("csrf")
    elsewhere = request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")
    if elsewhere or token is None:
        raise _stale_form()
    if not hmac.compare_digest(token.encode(), session.csrf.encode()):
        raise _stale_form()
    return fields


async def _read_form(request: web.Request) -> Form:
    """Pages are in UTF-8, and so are their forms; none has a file to send, so none is multipart."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise HttpError(415, "unsupported_media_type", "send an HTML form")
    sent = await read_limited(request, FORM_LIMIT)
    try:
        if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
            raise ValueError("not UTF-8")
        fields = MultiDict(
            parse_qsl(
                sent.decode(),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MOST_FIELDS,
            )
        )
        check(list(fields.items()))
    except ValueError as error:
        raise _unreadable_form() from error
    return fields


def _unreadable_form() -> HttpError:
    return HttpError(400, "unreadable_form", "the form contains bytes that are not text")


def _stale_form() -> HttpError:
    return HttpError(
        403,
        "stale_form",
        "the form is too old, or was not sent from this site; nothing was done",
        next_action="go back, reload the page and submit it again",
    )


Page = Callable[[web.Request, Visitor], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def page_for(
    permission: Permission, *, with_temporary_password: bool = False
) -> Callable[[Page], Handler]:
    """A page for accounts with a permission; visitors not logged in are sent to the login.

    Who has logged in by a one-time password chooses a new one first.
    """

    def decorate(page: Page) -> Handler:
        @wraps(page)
        async def handler(request: web.Request) -> web.StreamResponse:
            who = await visitor(request)
            if who is None:
                to = f"?next={quote(request.path_qs, safe='')}" if request.method == "GET" else ""
                raise web.HTTPSeeOther(f"/login{to}")
            if who.account.password_is_temporary and not with_temporary_password:
                raise web.HTTPSeeOther("/account")
            who.actor.require(permission)
            return await page(request, who)

        return handler

    return decorate
