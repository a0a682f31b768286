"""What customers are told, and how it reaches them: the outbox, webhooks, the sender."""
