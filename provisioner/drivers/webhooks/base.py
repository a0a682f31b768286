"""The interface to webhook delivery: look a receiver's address up, then post to it."""

from collections.abc import Collection, Mapping
from typing import Protocol

from yarl import URL

from provisioner.domain.webhook_addresses import IPAddress

LIMIT_S = 10.0
"""The time limit of every call, unless the driver is given another."""


class WebhookDelivery(Protocol):
    """Which addresses are fit is the caller's decision, between the two calls."""

    async def look_up(self, url: URL) -> list[IPAddress]:
        """Return all addresses of the URL's host; none if it has none or the lookup times out."""

    async def post(
        self, url: URL, addresses: Collection[IPAddress], headers: Mapping[str, str], body: bytes
    ) -> int:
        """Post to one of the addresses and return the status. Raises :class:`NotDelivered`."""

    def close(self) -> None:
        """End without waiting for lookups under way."""


class NotDelivered(Exception):
    """A message that did not arrive; `reason` says no more than its customer may know."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
