"""Where webhooks may go, how they are signed, and how long they are retried."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest

from provisioner.domain.webhook_addresses import AddressRules
from provisioner.domain.webhooks import TRIED_FOR, WARNING_SPANS, headers, new_secret, next_try

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2001::1",
        "2001:db8::1",
        "2002:a00:1::1",
        "fc00::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_an_address_that_leads_inside_is_unfit(address: str) -> None:
    assert not AddressRules().admit([ip_address(address)])


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_a_public_address_is_fit(address: str) -> None:
    assert AddressRules().admit([ip_address(address)])


def test_one_inner_address_condemns_a_name_and_a_name_without_any_is_unfit() -> None:
    assert not AddressRules().admit([ip_address("8.8.8.8"), ip_address("10.0.0.1")])
    assert not AddressRules().admit([])


def test_allowed_networks_open_the_inside_but_for_refused_ones() -> None:
    rules = AddressRules(
        allowed=(ip_network("10.0.0.0/8"),),
        refused=(ip_network("10.77.0.0/24"), ip_network("8.8.8.0/24")),
    )
    assert rules.admit([ip_address("10.1.2.3")])
    assert not rules.admit([ip_address("10.77.0.9")])
    assert not rules.admit([ip_address("8.8.8.8")])
    assert not rules.admit([ip_address("192.168.0.1")])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https:///path",
        "https://user@example.com/",
        "https://user:word@example.com/",
        "https://exa mple.com/",
        "https://example.com/\nX: y",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://[::1/",
        "https://example.com/" + "x" * 2000,
    ],
)
def test_a_url_that_may_not_be_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        AddressRules().url(text)


def test_http_is_for_labs() -> None:
    assert str(AddressRules(allow_http=True).url("http://a.example/x#y")) == "http://a.example/x"


def test_the_signature_is_the_one_of_the_specifications_example() -> None:
    signed = headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
    )
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signed["webhook-timestamp"] == "1614265330"


def test_secrets_are_new_each_time() -> None:
    assert new_secret() != new_secret()
    assert new_secret().startswith("whsec_")


def test_a_message_is_tried_ever_more_rarely_for_a_day() -> None:
    now, pauses = NOW, []
    for attempt in range(1, 100):
        due_at = next_try(attempt, NOW, now)
        if due_at is None:
            break
        pauses.append(due_at - now)
        now = due_at
    assert pauses[0] == timedelta(seconds=5)
    assert pauses == sorted(pauses)
    assert TRIED_FOR - timedelta(hours=1) < now - NOW <= TRIED_FOR


def test_between_two_warnings_the_earlier_is_the_one_to_give() -> None:
    minutes = [
        (before.total_seconds() / 60, after.total_seconds() / 60) for before, after in WARNING_SPANS
    ]
    assert minutes == [(1440, 60), (60, 30), (30, 10), (10, 2), (2, 0)]
