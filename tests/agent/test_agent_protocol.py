"""The messages between machines and the provisioner."""

import json

import pytest

from agent.protocol import (
    AgentConfig,
    Grant,
    Identity,
    IdentityRequest,
    LeaseState,
    Message,
    ProtocolError,
    Ready,
    Report,
    ReportAnswer,
    SignedGrant,
)

CONFIG = AgentConfig(
    url="http://10.77.0.1:8080",
    server="srv_1",
    token="t",
    context="tenant",
    interval_s=10.0,
    grant=SignedGrant("{}", "c2ln"),
    grant_key="a2V5",
    serial="ILSRV01",
)
GRANT = Grant("lse_1", "srv_1", "ILSRV01", 1.5, 2.5, 1.0, 1, "nonce")
MESSAGES: list[Message] = [
    GRANT,
    SignedGrant(GRANT.to_json(), "c2ln"),
    LeaseState("lse_1", 0.0, locked=True),
    CONFIG,
    Report("srv_1", "ramdisk", "boot", 1, 2.5, "0.1", "r1-u01", None),
    Report("srv_1", "tenant", "boot", 7, 2.5, "0.1", "r1-u01", LeaseState("lse_1", 3.0, False)),
    Report("srv_1", "ramdisk", "boot", 1, 2.5, "0.1", "r1-u01", None, echo="nonce"),
    ReportAnswer(10.0, SignedGrant(GRANT.to_json(), "c2ln")),
    ReportAnswer(10.0, None),
    IdentityRequest("t", "boot", "", "52:54:00:77:00:01"),
    IdentityRequest("t", "boot", "", "52:54:00:77:00:01", "0123456789abcdef"),
    Identity("srv_1", "r1-u01", "key", "ssh-ed25519 A", CONFIG),
    Ready("boot"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert type(message).from_json(message.to_json()) == message


def test_unknown_fields_are_ignored() -> None:
    text = json.dumps({"id": "lse_1", "remaining_s": 5, "locked": False, "added_later": True})
    assert LeaseState.from_json(text) == LeaseState("lse_1", 5.0, locked=False)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ('{"id": "lse_1"}', "remaining_s: missing"),
        ('{"id": "", "remaining_s": 1}', "id: empty"),
        ('{"id": 4, "remaining_s": 1}', "id: expected str"),
        ('{"id": "lse_1", "remaining_s": -1}', "0 or more"),
        ('{"id": "lse_1", "remaining_s": NaN}', "finite"),
        ('{"id": "lse_1", "remaining_s": true}', "expected float"),
        ('{"id": "lse_1", "remaining_s": "1"}', "expected float"),
    ],
)
def test_a_wrong_message_is_refused_with_the_field_and_the_reason(
    text: str, complaint: str
) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        LeaseState.from_json(text)


def test_a_wrong_part_is_named_with_its_whole() -> None:
    broken = {**CONFIG.to_dict(), "grant": {"grant": "{}"}}
    with pytest.raises(ProtocolError, match=r"AgentConfig: SignedGrant: signature: missing"):
        AgentConfig.from_dict(broken)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"url": "ftp://x"}, "http or https"),
        ({"context": "moon"}, "one of ramdisk, tenant"),
        ({"interval_s": 0}, "more than 0"),
        ({"grant_key": None}, "expected str"),
        ({"grant_key": "%%%"}, "not base64"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    change: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        AgentConfig.from_dict({**CONFIG.to_dict(), **change})


def test_secrets_are_not_in_the_representation() -> None:
    assert "hush" not in repr(AgentConfig("http://x", "srv_1", "hush", "tenant", 1.0, None))
    assert "hush" not in repr(IdentityRequest("hush", "boot", "s", "m", "hush"))
