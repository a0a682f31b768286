"""Which events are sent by webhook and when, how they are signed, and how long they are retried.

Form and signature follow the Standard Webhooks specification.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise


class WebhookEvent(StrEnum):
    READY = "lease.ready"
    """The customer can log in."""
    ENDS_SOON = "lease.ends_soon"
    EXTENDED = "lease.extended"
    ENDED = "lease.ended"
    """Access is gone: the server was powered off, or its port shut."""
    INCIDENT = "lease.incident"
    """The server is not healthy."""
    DELAYED = "reservation.delayed"
    """The promised server is unavailable, and no other is free yet."""
    TEST = "webhook.test"


WARNINGS = tuple(
    timedelta(seconds=seconds) for seconds in (24 * 3600, 3600, 30 * 60, 10 * 60, 2 * 60)
)
"""Times before the end at which a warning is sent, longest first."""

WARNING_SPANS = tuple(pairwise((*WARNINGS, timedelta())))
"""Each warning paired with the next: it is the one to send between the two."""

TRIED_FOR = timedelta(hours=24)
KEPT_FOR = timedelta(days=30)
"""How long delivery results are shown."""
_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800))
_LONGEST_PAUSE = timedelta(hours=1)

_PREFIX = "whsec_"


def new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def headers(secret: str, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of a message sent at `at`: identifier, time, and a signature over all."""
    timestamp = str(int(at.timestamp()))
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def next_try(attempts: int, created_at: datetime, now: datetime) -> datetime | None:
    """Return when a message is retried after so many failures; None when it is given up."""
    pause = _PAUSES[attempts - 1] if attempts <= len(_PAUSES) else _LONGEST_PAUSE
    return now + pause if now + pause <= created_at + TRIED_FOR else None
