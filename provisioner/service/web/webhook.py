"""The page of an account's webhook: its address, and the outcome of the latest messages."""

from aiohttp import web

from provisioner.domain.access import Permission
from provisioner.domain.refusals import Refusal
from provisioner.notifications import webhooks
from provisioner.service.views.webhooks import NewWebhookView, new_webhook_view, webhook_view
from provisioner.service.web.render import page
from provisioner.service.web.session import Visitor, checked_form, page_for


@page_for(Permission.RENT)
async def show(request: web.Request, who: Visitor) -> web.StreamResponse:
    return await _page(request, who)


@page_for(Permission.RENT)
async def put(request: web.Request, who: Visitor) -> web.StreamResponse:
    """Answers with the page itself: the secret is shown only once."""
    fields = await checked_form(request, who.session)
    url = fields.get("url", "").strip()
    try:
        row, secret = await webhooks.set_webhook(
            who.services.database,
            who.services.secret_box,
            who.services.webhook_post,
            who.services.webhook_rules,
            url,
            actor=who.actor,
            now=who.services.clock(),
        )
    except Refusal as refusal:
        return await _page(request, who, url=url, refusal=refusal)
    return await _page(request, who, made=new_webhook_view(row, secret))


@page_for(Permission.RENT)
async def test(request: web.Request, who: Visitor) -> web.StreamResponse:
    await checked_form(request, who.session)
    async with who.services.database.write() as session:
        await webhooks.send_test(session, actor=who.actor, now=who.services.clock())
    raise web.HTTPSeeOther("/webhook")


@page_for(Permission.RENT)
async def remove(request: web.Request, who: Visitor) -> web.StreamResponse:
    await checked_form(request, who.session)
    async with who.services.database.write() as session:
        await webhooks.remove_webhook(session, actor=who.actor, now=who.services.clock())
    raise web.HTTPSeeOther("/webhook")


async def _page(
    request: web.Request,
    who: Visitor,
    *,
    url: str = "",
    made: NewWebhookView | None = None,
    refusal: Refusal | None = None,
) -> web.Response:
    async with who.services.database.read() as session:
        try:
            webhook = await webhook_view(session, who.account.id)
        except Refusal:
            webhook = None
    return page(
        request,
        "webhook.html",
        who,
        status=422 if refusal else 200,
        webhook=webhook,
        made=made,
        url=url or (webhook.url if webhook else ""),
        errors={fault.pointer.strip("/"): fault.reason for fault in refusal.faults}
        if refusal
        else {},
    )
