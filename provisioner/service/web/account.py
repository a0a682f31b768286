"""The page of one's own account: its password, and its API tokens."""

from aiohttp import web

from provisioner.accounts import credentials, passwords, tokens
from provisioner.accounts.sessions import begin_session
from provisioner.domain.access import Permission
from provisioner.domain.refusals import Refusal
from provisioner.service.views.accounts import api_token_view
from provisioner.service.web import session as sessions
from provisioner.service.web.render import page
from provisioner.service.web.session import Visitor, checked_form, page_for


@page_for(Permission.RENT, with_temporary_password=True)
async def show(request: web.Request, who: Visitor) -> web.StreamResponse:
    return await _page(request, who, {})


@page_for(Permission.RENT, with_temporary_password=True)
async def change_password(request: web.Request, who: Visitor) -> web.StreamResponse:
    """All sessions end; the browser that changed it gets a new one.

    Who has just spent a one-time password is not asked for it again.
    """
    fields = await checked_form(request, who.session)
    new = fields.get("new", "")
    if not passwords.SHORTEST <= len(new) <= passwords.LONGEST:
        limits = f"{passwords.SHORTEST} to {passwords.LONGEST} characters"
        return await _page(request, who, {"new": f"a password has {limits}"})
    if not who.account.password_is_temporary and not await passwords.matches(
        who.account.password_hash, fields.get("current", "")[: passwords.LONGEST + 1]
    ):
        return await _page(request, who, {"current": "this is not the current password"})
    password_hash = await passwords.hash_password(new)
    now = who.services.clock()
    try:
        async with who.services.database.write() as database:
            account = await credentials.change_password(
                database, who.account, password_hash, actor=who.actor, now=now
            )
            begun = await begin_session(database, account.id, now)
    except Refusal as refusal:
        errors = {fault.pointer.strip("/"): fault.reason for fault in refusal.faults}
        return await _page(request, who, errors)
    response = web.Response(status=303, headers={"Location": "/account"})
    sessions.set_cookie(who.services, response, sessions.begin(begun, account))
    return response


@page_for(Permission.RENT)
async def revoke(request: web.Request, who: Visitor) -> web.StreamResponse:
    await checked_form(request, who.session)
    async with who.services.database.write() as database:
        await tokens.revoke_token(
            database, request.match_info["id"], actor=who.actor, now=who.services.clock()
        )
    raise web.HTTPSeeOther("/account")


async def _page(request: web.Request, who: Visitor, errors: dict[str, str]) -> web.Response:
    async with who.services.database.read() as database:
        rows = await tokens.tokens_of(
            database, who.account.id, actor=who.actor, now=who.services.clock()
        )
    return page(
        request,
        "account.html",
        who,
        status=422 if errors else 200,
        tokens=[api_token_view(row) for row in rows],
        errors=errors,
        shortest=passwords.SHORTEST,
        longest=passwords.LONGEST,
    )
