"""The page of an account's SSH keys."""

from collections import defaultdict

from aiohttp import web

from provisioner.accounts import ssh_keys
from provisioner.domain.access import Permission
from provisioner.domain.refusals import Refusal
from provisioner.service.views.accounts import ssh_key_view
from provisioner.service.web.render import page
from provisioner.service.web.session import Form, Visitor, checked_form, page_for

NAME_LIMIT = 200


@page_for(Permission.RENT)
async def show(request: web.Request, who: Visitor) -> web.StreamResponse:
    return await _page(request, who, {}, {})


@page_for(Permission.RENT)
async def add(request: web.Request, who: Visitor) -> web.StreamResponse:
    fields = await checked_form(request, who.session)
    try:
        async with who.services.database.write() as session:
            await ssh_keys.add_key(
                session,
                key_name(fields),
                fields.get("public_key", ""),
                actor=who.actor,
                now=who.services.clock(),
            )
    except Refusal as refusal:
        errors = {fault.pointer.strip("/"): fault.reason for fault in refusal.faults}
        return await _page(request, who, dict(fields), errors)
    raise web.HTTPSeeOther("/keys")


def key_name(fields: Form) -> str:
    """The name given for a new key, or its comment."""
    text = fields.get("key_name", "").strip() or fields.get("public_key", "").partition(" ")[2]
    name = text.split()[-1] if text and not fields.get("key_name", "").strip() else text
    return "".join(c for c in name if c.isprintable())[:NAME_LIMIT] or "key"


@page_for(Permission.RENT)
async def remove(request: web.Request, who: Visitor) -> web.StreamResponse:
    await checked_form(request, who.session)
    async with who.services.database.write() as session:
        await ssh_keys.remove_key(
            session,
            request.match_info["id"],
            actor=who.actor,
            now=who.services.clock(),
        )
    raise web.HTTPSeeOther("/keys")


async def _page(
    request: web.Request, who: Visitor, fields: dict[str, str], errors: dict[str, str]
) -> web.Response:
    async with who.services.database.read() as session:
        rows = await ssh_keys.keys_of(session, who.account.id)
    return page(
        request,
        "keys.html",
        who,
        status=422 if errors else 200,
        keys=[ssh_key_view(row) for row in rows],
        fields=defaultdict(str, fields),
        errors=errors,
    )
