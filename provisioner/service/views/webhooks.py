"""An account's webhook and the outcome of its messages, without the secret."""

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.notifications import webhooks
from provisioner.service.views.base import View
from provisioner.store.tables import Webhook, WebhookMessage

_SHOWN = 20


class WebhookMessageView(View, title="WebhookMessage"):
    """A message to a webhook, and its outcome."""

    id: str
    """Identifier of the message."""
    type: str
    """The event, such as `lease.ready`."""
    subject: str
    """Identifier of what the message is about."""
    created_at: datetime
    """When the message was created."""
    attempts: int
    """Number of attempts to deliver it so far."""
    next_try_at: datetime | None
    """When the next attempt is due. Null once it is delivered or given up."""
    delivered_at: datetime | None
    """When it was delivered. Null until then."""
    error: str
    """Why the last attempt failed. Empty if it did not."""


class WebhookView(View, title="Webhook"):
    """Where an account's messages are sent."""

    url: str
    """Address that messages are posted to."""
    created_at: datetime
    """When the webhook was first set."""
    messages: list[WebhookMessageView]
    """The last 20 messages, newest first."""


class NewWebhookView(View, title="CreatedWebhook"):
    """A webhook that was just set, with its secret."""

    url: str
    """Address that messages are posted to."""
    created_at: datetime
    """When the webhook was first set."""
    secret: str
    """Key that every message is signed with. It is shown only once."""


def webhook_message_view(row: WebhookMessage) -> WebhookMessageView:
    return WebhookMessageView(
        id=row.id,
        type=row.body["type"],
        subject=row.subject,
        created_at=row.created_at,
        attempts=row.attempts,
        next_try_at=row.due_at,
        delivered_at=row.delivered_at,
        error=row.error,
    )


def new_webhook_view(row: Webhook, secret: str) -> NewWebhookView:
    return NewWebhookView(url=row.url, created_at=row.created_at, secret=secret)


async def webhook_view(session: AsyncSession, account_id: str) -> WebhookView:
    """Raises :class:`Refusal` (unknown_webhook)."""
    row = await webhooks.webhook_of(session, account_id)
    messages = await webhooks.messages_of(session, account_id, _SHOWN)
    return WebhookView(
        url=row.url,
        created_at=row.created_at,
        messages=[webhook_message_view(message) for message in messages],
    )
