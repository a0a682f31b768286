"""Sends webhook messages until they arrive. Any number of processes share the work.

A message is claimed by moving its due time ahead, counted as an attempt, and sent outside of any
transaction: it arrives at least once, under the same identifier each time.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import ClassVar

from sqlalchemy import delete, update
from sqlmodel import col, select

from provisioner.domain import webhooks
from provisioner.domain.webhook_addresses import AddressRules
from provisioner.domain.webhooks import WebhookEvent
from provisioner.drivers.webhooks import LIMIT_S, NotDelivered, WebhookDelivery
from provisioner.loops import Loop
from provisioner.notifications.outbox import enqueue_due
from provisioner.notifications.webhooks import fit_addresses
from provisioner.store.columns import utc_now
from provisioner.store.database import Database, DatabaseUnavailable
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import Webhook, WebhookMessage

CLAIM = timedelta(seconds=6 * LIMIT_S)
"""Longer than an attempt including its lookup; then a killed process's message is due again."""
AT_ONCE = 16
_FORGET_EVERY = timedelta(hours=1)


class WebhookSender(Loop):
    name: ClassVar[str] = "webhooks"

    def __init__(
        self,
        database: Database,
        box: SecretBox,
        *,
        post: WebhookDelivery,
        rules: AddressRules,
        clock: Callable[[], datetime] = utc_now,
        period: timedelta = timedelta(seconds=1),
    ) -> None:
        super().__init__(period=period, clock=clock, concurrency=AT_ONCE)
        self._database = database
        self._box = box
        self._post = post
        self._rules = rules
        self._forget_at = clock()

    async def turn(self, now: datetime) -> None:
        """Enqueue messages that the clock makes due, and start sending due messages."""
        await enqueue_due(self._database, now, self.status.contained)
        await self._forget(now)
        for message in await self._claim(now, self.workers.free):
            self.workers.start(message.id, self._send(message))

    async def _forget(self, now: datetime) -> None:
        """Delete messages that were delivered or given up long ago."""
        if now < self._forget_at:
            return
        self._forget_at = now + _FORGET_EVERY
        async with self._database.write() as session:
            await session.exec(
                delete(WebhookMessage).where(
                    col(WebhookMessage.due_at).is_(None),
                    col(WebhookMessage.created_at) < now - webhooks.KEPT_FOR,
                )
            )

    async def _claim(self, now: datetime, limit: int) -> list[WebhookMessage]:
        """Claim due messages, longest due first.

        The attempt is the claim: its outcome counts only until there is a later attempt.
        """
        if limit <= 0:
            return []
        due = (
            select(WebhookMessage.id)
            .where(col(WebhookMessage.due_at) <= now)
            .order_by(col(WebhookMessage.due_at))
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        async with self._database.write() as session:
            claimed = await session.exec(
                update(WebhookMessage)
                .where(col(WebhookMessage.id).in_(select(due.c.id)))
                .values(attempts=col(WebhookMessage.attempts) + 1, due_at=now + CLAIM)
                .returning(WebhookMessage)
                .execution_options(synchronize_session=False)
            )
            return list(claimed.scalars())

    async def _write(self, message: WebhookMessage, **values: object) -> bool:
        """Change the message unless another attempt was made since it was read."""
        async with self._database.write() as session:
            changed = await session.exec(
                update(WebhookMessage)
                .where(
                    col(WebhookMessage.id) == message.id,
                    col(WebhookMessage.attempts) == message.attempts,
                )
                .values(**values)
            )
        return changed.rowcount == 1

    async def _send(self, message: WebhookMessage) -> None:
        async with self._database.read() as session:
            webhook = await session.get(Webhook, message.account_id)
        if webhook is None:
            await self._write(message, due_at=None, error="the webhook was removed")
            return
        try:
            status = await self._post_to(webhook, message)
        except NotDelivered as failure:
            error = failure.reason
        except DatabaseUnavailable:
            raise  # it is due again when its claim expires
        except Exception:
            await self._ended(message, "an internal error of the provisioner")
            raise
        else:
            error = "" if 200 <= status < 300 else f"the receiver answered {status}"
        await self._ended(message, error)

    async def _ended(self, message: WebhookMessage, error: str) -> None:
        """Record that the message was delivered, or when it is retried."""
        now = self.clock()
        if not error:
            await self._write(message, due_at=None, delivered_at=now, error="")
            return
        due_at = webhooks.next_try(message.attempts, message.created_at, now)
        if message.body["type"] == WebhookEvent.TEST.value:
            due_at = None
        await self._write(message, due_at=due_at, error=error)

    async def _post_to(self, webhook: Webhook, message: WebhookMessage) -> int:
        try:
            url = self._rules.url(webhook.url)
        except ValueError as error:  # the rules have changed since it was set
            raise NotDelivered(str(error)) from error
        addresses = await fit_addresses(self._database, self._post, self._rules, url)
        body = json.dumps(message.body, separators=(",", ":")).encode()
        secret = self._box.open(webhook.secret_sealed)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Ironlease",
            **webhooks.headers(secret, message.id, self.clock(), body),
        }
        return await self._post.post(url, addresses, headers, body)
