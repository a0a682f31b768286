"""What is told by webhook and when, how a message is signed, and how long it is tried.

Form and signature are those of the Standard Webhooks specification.
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
    """Access is gone: the server was seen off, or its port shut."""
    INCIDENT = "lease.incident"
    """The server is not healthy."""
    DELAYED = "reservation.delayed"
    """The server that was promised fell out, and no other is free yet."""
    TEST = "webhook.test"


WARNINGS = tuple(
    timedelta(seconds=seconds) for seconds in (24 * 3600, 3600, 30 * 60, 10 * 60, 2 * 60)
)
"""So long before the end it is told; the longest first."""

WARNING_SPANS = tuple(pairwise((*WARNINGS, timedelta())))
"""Each warning with the one after it: between the two it is the one to be told."""

TRIED_FOR = timedelta(hours=24)
KEPT_FOR = timedelta(days=30)
"""What became of a message is shown so long."""
_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800))
_LONGEST_PAUSE = timedelta(hours=1)

_PREFIX = "whsec_"


def new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def headers(secret: str, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Those of a message sent at `at`: its identifier, the time, and the signature of both with
    the body."""
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
    """When a message that failed so often is tried again; None when it is given up."""
    pause = _PAUSES[attempts - 1] if attempts <= len(_PAUSES) else _LONGEST_PAUSE
    return now + pause if now + pause <= created_at + TRIED_FOR else None
