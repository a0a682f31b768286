"""The example on the customer's page verifies the signatures that are sent."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from docs_pages import ROOT

from provisioner.domain.webhooks import WebhookEvent, headers, new_secret

PAGE = (ROOT / "docs" / "customer.md").read_text()
Verify = Callable[[str, Mapping[str, str], bytes], bool]


@pytest.fixture
def verify() -> Verify:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Verify] = {}
    exec(example, names)
    return names["verify"]


def test_the_example_takes_what_we_send_and_nothing_else(verify: Verify) -> None:
    secret, body, now = new_secret(), b'{"type":"lease.ready"}', datetime.now(UTC)
    sent = headers(secret, "msg_1", now, body)
    assert verify(secret, sent, body)
    assert not verify(secret, sent, body + b" ")
    assert not verify(secret, {**sent, "webhook-id": "msg_2"}, body)
    assert not verify(new_secret(), sent, body)
    assert not verify(secret, headers(secret, "msg_1", now - timedelta(hours=1), body), body)


def test_the_page_lists_every_event() -> None:
    assert set(re.findall(r"^\| `(\w+\.\w+)` \|", PAGE, re.MULTILINE)) == set(WebhookEvent)
