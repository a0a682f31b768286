"""The account's webhook, which notifies its own programs of leases."""

from pydantic import Field

from provisioner.domain.webhook_addresses import LONGEST
from provisioner.notifications import webhooks
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.views.webhooks import (
    NewWebhookView,
    WebhookMessageView,
    WebhookView,
    new_webhook_view,
    webhook_message_view,
    webhook_view,
)


class WantedWebhook(
    Body,
    title="NewWebhook",
    json_schema_extra={"examples": [{"url": "https://example.com/hook"}]},
):
    """A webhook to set."""

    url: str = Field(min_length=1, max_length=LONGEST)
    """Address to send messages to. It must be reachable from the Internet."""


async def show(call: Call) -> WebhookView:
    """Show the account's webhook and its last messages."""
    async with call.services.database.read() as session:
        return await webhook_view(session, call.actor.account_id)


async def put(call: Call, body: WantedWebhook) -> NewWebhookView:
    """Set the address that messages are sent to.

    Every call creates a new secret, which is shown only once.
    """
    row, secret = await webhooks.set_webhook(
        call.services.database,
        call.services.secret_box,
        call.services.webhook_post,
        call.services.webhook_rules,
        body.url,
        actor=call.actor,
        now=call.now(),
    )
    return new_webhook_view(row, secret)


async def test(call: Call) -> WebhookMessageView:
    """Send a test message.

    Its outcome is listed with the webhook's messages.
    """
    async with call.services.database.write() as session:
        row = await webhooks.send_test(session, actor=call.actor, now=call.now())
    return webhook_message_view(row)


async def remove(call: Call) -> None:
    """Remove the webhook.

    Pending messages are dropped.
    """
    async with call.services.database.write() as session:
        await webhooks.remove_webhook(session, actor=call.actor, now=call.now())
