"""Delivery of webhook messages."""

from provisioner.drivers.webhooks.base import LIMIT_S, NotDelivered, WebhookDelivery

__all__ = ["LIMIT_S", "NotDelivered", "WebhookDelivery"]
