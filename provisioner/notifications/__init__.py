"""Notifications to customers: the outbox, webhooks, and the sender."""
