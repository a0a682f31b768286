"""A world with a customer who has a webhook, and what was sent there."""

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from ipaddress import ip_address

from sqlmodel import col, select
from world import CUSTOMER, World
from yarl import URL

from provisioner.domain.webhook_addresses import AddressRules, IPAddress
from provisioner.drivers.webhooks.post import WebhookPost
from provisioner.notifications.sender import WebhookSender
from provisioner.notifications.webhooks import send_test, set_webhook
from provisioner.rental.extension import extend
from provisioner.store.tables import Reservation, WebhookMessage

RULES = AddressRules()
Answer = Callable[[], int]


class Receiver(WebhookPost):
    """Keeps what is posted; answers as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[IPAddress] = [ip_address("8.8.8.8")]
        self.answer: Answer = lambda: 200
        self.got: list[tuple[Mapping[str, str], bytes]] = []

    async def look_up(self, url: URL) -> list[IPAddress]:
        return self.addresses

    async def post(
        self, url: URL, addresses: Collection[IPAddress], headers: Mapping[str, str], body: bytes
    ) -> int:
        await asyncio.sleep(0)
        self.got.append((headers, body))
        return self.answer()

    def told(self, key: str = "") -> list[str]:
        """The events that came, with a value of each."""
        bodies = [json.loads(body) for _, body in self.got]
        return [
            body["type"] + (f" {body['data'][key]}" if key in body["data"] else "")
            for body in bodies
        ]


class Site:
    """A world with a customer who has a webhook, and a sender."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.receiver = Receiver()
        self.sender = self.new_sender()
        self.secret = ""

    def new_sender(self) -> WebhookSender:
        return WebhookSender(
            self.world.database,
            self.world.box,
            post=self.receiver,
            rules=RULES,
            clock=self.world.clock,
        )

    async def set_webhook(self) -> None:
        _, self.secret = await set_webhook(
            self.world.database,
            self.world.box,
            self.receiver,
            RULES,
            "https://example.com/hook",
            actor=CUSTOMER,
            now=self.world.clock(),
        )

    async def send_test(self) -> None:
        async with self.world.database.write() as session:
            await send_test(session, actor=CUSTOMER, now=self.world.clock())

    async def extend(self, reservation: Reservation, **by: float) -> None:
        async with self.world.database.write() as session:
            await extend(
                session,
                reservation.id,
                by=timedelta(**by),
                actor=CUSTOMER,
                now=self.world.clock(),
            )

    async def turn(self, **by: float) -> None:
        """Let time pass and the sender look."""
        self.world.clock.turn(**by)
        await self.sender.settle()

    async def messages(self) -> list[WebhookMessage]:
        async with self.world.database.read() as session:
            return list(
                (
                    await session.exec(
                        select(WebhookMessage).order_by(
                            col(WebhookMessage.created_at), col(WebhookMessage.id)
                        )
                    )
                ).all()
            )
