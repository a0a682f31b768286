"""Sends webhook messages until they arrive. Any number of processes share the work.

A message is claimed by moving its due time ahead, counted as an attempt, and sent outside of any
transaction: it arrives at least once, under the same identifier each time.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlmodel import col, select

from provisioner.domain import webhooks
from provisioner.domain.webhook_addresses import AddressRules
from provisioner.domain.webhooks import WebhookEvent
from provisioner.drivers.webhooks import LIMIT_S, NotDelivered, WebhookDelivery
from provisioner.notifications.outbox import look
from provisioner.notifications.webhooks import fit_addresses
from provisioner.store.columns import utc_now
from provisioner.store.database import Database, DatabaseUnavailable, defect_of
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import Webhook, WebhookMessage

log = logging.getLogger(__name__)

POLL_S = 1.0
CLAIM = timedelta(seconds=6 * LIMIT_S)
"""Longer than an attempt takes, lookup included; after it a killed process's message is due."""
AT_ONCE = 16
_FORGETS_EVERY = timedelta(hours=1)


class WebhookSender:
    def __init__(
        self,
        database: Database,
        box: SecretBox,
        *,
        post: WebhookDelivery,
        rules: AddressRules,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._box = box
        self._post = post
        self._rules = rules
        self._clock = clock
        self._sending: set[asyncio.Task[None]] = set()
        self._forgets_at = clock()

    async def run(self) -> None:
        """Look and send until cancelled; what is being sent then is sent again by others."""
        try:
            while True:
                with suppress(DatabaseUnavailable):
                    await look(self._database, self._clock())
                    await self._start_due()
                    await self._forget()
                await asyncio.sleep(POLL_S)
        finally:
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def settle(self) -> None:
        """Look once, and send all that is due at this instant (for clocks that tests turn)."""
        await look(self._database, self._clock())
        while await self._start_due() or self._sending:
            await asyncio.gather(*self._sending)
        await self._forget()

    async def _start_due(self) -> int:
        claimed = await self._claim(AT_ONCE - len(self._sending))
        for message in claimed:
            task = asyncio.create_task(self._send(message))
            self._sending.add(task)
            task.add_done_callback(self._sent)
        return len(claimed)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if (error := defect_of(task)) is not None:
            # A defect of ours: the message is due again when its claim has passed.
            log.error("a webhook message was not sent", exc_info=error)

    async def _forget(self) -> None:
        """Delete what arrived, or was given up, long ago: nothing so old is told again."""
        now = self._clock()
        if now < self._forgets_at:
            return
        self._forgets_at = now + _FORGETS_EVERY
        async with self._database.write() as session:
            await session.exec(
                delete(WebhookMessage).where(
                    col(WebhookMessage.due_at).is_(None),
                    col(WebhookMessage.created_at) < now - webhooks.KEPT_FOR,
                )
            )

    async def _claim(self, limit: int) -> list[WebhookMessage]:
        """Due messages, the longest due first, that no other process took meanwhile."""
        now = self._clock()
        async with self._database.read() as session:
            found = await session.exec(
                select(WebhookMessage)
                .where(col(WebhookMessage.due_at) <= now)
                .order_by(col(WebhookMessage.due_at))
                .limit(limit)
            )
            due = found.all()
        claimed = []
        for message in due:
            attempt = message.attempts + 1
            if await self._write(message, attempts=attempt, due_at=now + CLAIM):
                message.attempts = attempt
                claimed.append(message)
        return claimed

    async def _write(self, message: WebhookMessage, **values: object) -> bool:
        """Change the message unless somebody else made an attempt since it was read."""
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
            await self._write(message, due_at=None, error="there is no webhook any more")
            return
        try:
            status = await self._post_to(webhook, message)
        except NotDelivered as failure:
            error = failure.reason
        else:
            error = "" if 200 <= status < 300 else f"the receiver answered {status}"
        now = self._clock()
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
        except ValueError as error:  # the rules were changed since it was set
            raise NotDelivered(str(error)) from error
        addresses = await fit_addresses(self._database, self._post, self._rules, url)
        body = json.dumps(message.body, separators=(",", ":")).encode()
        secret = self._box.open(webhook.secret_sealed)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Ironlease",
            **webhooks.headers(secret, message.id, self._clock(), body),
        }
        return await self._post.post(url, addresses, headers, body)
