"""The account's webhook: where its own programs hear of leases."""

from pydantic import Field
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.webhook_addresses import LONGEST
from provisioner.notifications import webhooks
from provisioner.service.context import Services
from provisioner.service.http.bearer import Caller
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.views.webhooks import (
    NewWebhookView,
    WebhookMessageView,
    WebhookView,
    new_webhook_view,
    webhook_message_view,
)

_SHOWN = 20


class WantedWebhook(Body):
    url: str = Field(min_length=1, max_length=LONGEST)


async def show(call: Call) -> WebhookView:
    """The account's webhook and its last messages"""
    async with call.services.database.read() as session:
        return await webhook_view(session, call.caller.account.id)


async def webhook_view(session: AsyncSession, account_id: str) -> WebhookView:
    """Raises :class:`Refusal` (unknown_webhook)."""
    row = await webhooks.webhook_of(session, account_id)
    messages = await webhooks.messages_of(session, account_id, _SHOWN)
    return WebhookView(
        url=row.url,
        created_at=row.created_at,
        messages=[webhook_message_view(message) for message in messages],
    )


async def put(call: Call, body: WantedWebhook) -> NewWebhookView:
    """Set where messages go; each call makes a new secret, shown this once"""
    return await set_webhook(call.services, call.caller, body.url)


async def set_webhook(services: Services, caller: Caller, text: str) -> NewWebhookView:
    """Raises :class:`Refusal` (bad_webhook)."""
    url = await webhooks.checked_url(
        services.database, services.webhook_post, services.webhook_rules, text
    )
    async with services.database.write() as session:
        row, secret = await webhooks.set_webhook(
            session,
            services.secret_box,
            caller.account.id,
            url,
            actor=caller.actor,
            now=services.clock(),
        )
    return new_webhook_view(row, secret)


async def test(call: Call) -> WebhookMessageView:
    """Send a message that tells nothing; what became of it is among the webhook's messages"""
    async with call.services.database.write() as session:
        row = await webhooks.send_test(session, call.caller.account.id, call.now())
    return webhook_message_view(row)


async def remove(call: Call) -> None:
    """Tell nothing any more; messages under way are given up"""
    async with call.services.database.write() as session:
        await webhooks.remove_webhook(
            session, call.caller.account.id, actor=call.caller.actor, now=call.now()
        )
