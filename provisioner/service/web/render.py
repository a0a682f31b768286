"""Templates, and how values are written in them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp_jinja2
from aiohttp import web
from jinja2 import PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from provisioner.service.context import services_of
from provisioner.service.http.problems import Problem
from provisioner.service.web.session import Session, Visitor, set_cookie

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_PLAIN_WORD = re.compile(r"(?!rackctl\b)[a-z]+(?!\.?[\w-])")
"""A first word that takes a capital; a name or a command is written as it is."""
_ENDS_IN_A_COMMAND = re.compile(r"\brackctl [^.;]*$")


def setup(app: web.Application) -> None:
    environment = aiohttp_jinja2.setup(
        app,
        loader=PackageLoader("provisioner.service.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=duration,
        measured=measured,
        moment=moment,
        prose=prose,
        sentence=sentence,
        size=size,
        words=words,
    )


def page(
    request: web.Request, template: str, who: Visitor, *, status: int = 200, **context: Any
) -> web.Response:
    """A page for a visitor who is logged in."""
    return _render(request, template, who.session, status, visitor=who, **context)


def open_page(
    request: web.Request, template: str, session: Session, *, status: int = 200, **context: Any
) -> web.Response:
    """A page for anybody. Keeps the session, so that its form can be submitted."""
    response = _render(request, template, session, status, visitor=None, **context)
    set_cookie(services_of(request), response, session)
    return response


def problem_page(request: web.Request, problem: Problem) -> web.Response:
    return _render(request, "problem.html", None, problem.status, visitor=None, problem=problem)


def _render(
    request: web.Request, template: str, session: Session | None, status: int, **context: Any
) -> web.Response:
    values = {
        "now": services_of(request).clock(),
        "path": request.path,
        "csrf": session.csrf if session else "",
        **context,
    }
    response = aiohttp_jinja2.render_template(template, request, values)
    response.set_status(status)
    response.headers["Cache-Control"] = "no-store"
    return response


def duration(span: timedelta | float) -> str:
    """`2 h 5 min`: the two largest units that are not zero."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if 0 <= seconds < 10:
        return f"{seconds:.1f} s"
    rest = round(abs(seconds))
    parts = []
    for unit, length in _UNITS:
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
    return ("−" if seconds < 0 and parts else "") + " ".join(parts[:2] or ["0 s"])


def moment(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "–"


def measured(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.0f} {unit}"


def size(count: int) -> str:
    """In decimal units, as disks are sold."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def sentence(text: str) -> str:
    """A reason or a next action with a capital and a stop, but no stop after a command to copy."""
    if _PLAIN_WORD.match(text):
        text = text[0].upper() + text[1:]
    whole = not text or text.endswith((".", "!", "?", "…")) or _ENDS_IN_A_COMMAND.search(text)
    return text if whole else f"{text}."


def prose(text: str) -> Markup:
    """Text of docstrings, in which `this` is code."""
    parts = text.split("`")
    code = Markup("<code>{}</code>")
    return Markup().join(
        code.format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def words(name: str) -> str:
    """`write_image` as `write image`."""
    return name.replace("_", " ")
