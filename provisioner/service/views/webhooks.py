"""An account's webhook and what became of its messages, without the secret."""

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.notifications import webhooks
from provisioner.service.views.base import View
from provisioner.store.tables import Webhook, WebhookMessage

_SHOWN = 20


class WebhookMessageView(View):
    id: str
    type: str
    """The event, such as lease.ready."""
    subject: str
    created_at: datetime
    attempts: int
    next_try_at: datetime | None
    """null once it was delivered or given up."""
    delivered_at: datetime | None
    error: str
    """Why the last attempt failed."""


class WebhookView(View):
    url: str
    created_at: datetime
    messages: list[WebhookMessageView]
    """The newest first; the last 20."""


class NewWebhookView(View):
    url: str
    created_at: datetime
    secret: str
    """Signs every message; shown this once."""


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
