"""Known browsers: one that has logged in to an account before is told from a stranger's.

A sealed cookie says so. Strangers who use up the limit on an account's failed logins, or on those
from an address, do not lock out the browsers of its people.
"""

import json
import secrets

from aiohttp import web

from provisioner.service.context import Services, services_of
from provisioner.store.secrets import SecretUnreadable

_LIFETIME_S = 366 * 86400


def known_device(request: web.Request, email: str) -> str | None:
    """The name of this browser, if somebody has logged in to the account with it."""
    services = services_of(request)
    try:
        found = json.loads(services.secret_box.open(request.cookies.get(_name(services), "")))
        if found["known_to"] == email:
            return str(found["device"])
    except (SecretUnreadable, ValueError, TypeError, KeyError):
        pass  # no such cookie, or a forged one
    return None


def remember_device(services: Services, response: web.StreamResponse, email: str) -> None:
    device = {"known_to": email, "device": secrets.token_urlsafe(16)}
    response.set_cookie(
        _name(services),
        services.secret_box.seal(json.dumps(device)),
        max_age=_LIFETIME_S,
        path="/",
        secure=services.secure,
        httponly=True,
        samesite="Lax",
    )


def _name(services: Services) -> str:
    return "__Host-ironlease-device" if services.secure else "ironlease-device"
