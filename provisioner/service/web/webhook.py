"""The page of an account's webhook: where messages go, and what became of the last ones."""

from aiohttp import web

from provisioner.domain.refusals import Refusal
from provisioner.notifications import webhooks
from provisioner.service.api.webhooks import set_webhook, webhook_view
from provisioner.service.views.webhooks import NewWebhookView
from provisioner.service.web.render import page
from provisioner.service.web.session import Visitor, checked_form, for_role
from provisioner.store.tables import Role


@for_role(Role.CUSTOMER)
async def show(request: web.Request, who: Visitor) -> web.StreamResponse:
    return await _page(request, who)


@for_role(Role.CUSTOMER)
async def put(request: web.Request, who: Visitor) -> web.StreamResponse:
    """Answers with the page itself: the secret is shown this once."""
    fields = await checked_form(request, who.session)
    url = fields.get("url", "").strip()
    try:
        made = await set_webhook(who.services, who.caller, url)
    except Refusal as refusal:
        return await _page(request, who, url=url, refusal=refusal)
    return await _page(request, who, made=made)


@for_role(Role.CUSTOMER)
async def test(request: web.Request, who: Visitor) -> web.StreamResponse:
    await checked_form(request, who.session)
    async with who.services.database.write() as session:
        await webhooks.send_test(session, who.caller.account.id, who.services.clock())
    raise web.HTTPSeeOther("/webhook")


@for_role(Role.CUSTOMER)
async def remove(request: web.Request, who: Visitor) -> web.StreamResponse:
    await checked_form(request, who.session)
    async with who.services.database.write() as session:
        await webhooks.remove_webhook(
            session, who.caller.account.id, actor=who.caller.actor, now=who.services.clock()
        )
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
            webhook = await webhook_view(session, who.caller.account.id)
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
