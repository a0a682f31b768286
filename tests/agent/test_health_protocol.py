"""Health in reports: what fits the table of signals passes, a hostile machine's input does not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol import ProtocolError, Report
from agent.signals import PARTS, SERVER
from provisioner.domain.health.rule import Scope
from provisioner.domain.health.rules import RULES

BASE = {
    "server": "srv_1",
    "context": "tenant",
    "boot_id": "b",
    "sequence": 1,
    "uptime_s": 10.0,
    "agent_version": "1",
    "hostname": "h",
    "lease": None,
}


def read(health: object) -> Any:
    return Report.from_json(json.dumps({**BASE, "health": health})).health


def test_health_is_optional() -> None:
    assert Report.from_json(json.dumps(BASE)).health is None
    assert read(None) is None


def test_health_survives_the_way() -> None:
    health = {
        "state": "ok",
        "gpus": [{"index": 0, "temperature_c": -5, "power_w": 71.5, "nvlinks_down": [3]}],
        "disks": [{"name": "nvme0", "critical_warning": 0}],
        "links": [],
        "events": [{"id": "k1", "pci": "0000:3b:00.0", "xid": 79, "at_s": 1.5, "text": "x"}],
    }
    assert read(health) == health
    report = Report.from_json(json.dumps({**BASE, "health": health}))
    assert Report.from_json(report.to_json()) == report


def test_signals_of_a_newer_agent_are_left_out() -> None:
    health = read({"state": "ok", "new": 1, "gpus": [{"index": 0, "new": {}}]})
    assert health == {
        "state": "ok",
        "gpus": [{"index": 0}],
        "disks": [],
        "links": [],
        "events": [],
    }


@pytest.mark.parametrize(
    "health",
    [
        [],
        {"gpus": {}},
        {"gpus": [7]},
        {"gpus": [{}] * 65},
        {"gpus": [{"temperature_c": "hot"}]},
        {"gpus": [{"temperature_c": 1e400}]},
        {"gpus": [{"power_w": float("nan")}]},
        {"gpus": [{"lost": 1}]},
        {"gpus": [{"pcie_replays": -1}]},
        {"gpus": [{"pcie_replays": 1 << 63}]},
        {"gpus": [{"name": "x" * 301}]},
        {"gpus": [{"nvlink_crc": [0] * 65}]},
        {"gpus": [{"nvlink_crc": [None]}]},
        {"events": [{"xid": 79}]},
        {"reason": 5},
    ],
)
def test_what_no_agent_of_ours_would_send_is_refused(health: object) -> None:
    with pytest.raises(ProtocolError, match="health: "):
        read(health)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*PARTS, "state", "read_s"]), json_values))
def test_anything_is_either_refused_or_fits(health: dict[str, Any]) -> None:
    try:
        got = read(health)
    except ProtocolError:
        return
    assert read(got) == got


def test_every_rule_is_about_a_signal_that_is_reported() -> None:
    derived = {
        "silent_s",
        "gpus_expected",
        "gpus_missing",
        "gpus_missing_on_bus",
        "driver_expected_but",
    }
    names = {Scope.GPU: "gpus", Scope.DISK: "disks", Scope.LINK: "links"}
    for rule in RULES:
        if rule.scope is Scope.SENSOR:
            continue  # no agent reads those
        table = PARTS[names[rule.scope]] if rule.scope in names else SERVER
        known = {signal.name for signal in table} | derived
        assert rule.signal in known, rule.name
        assert rule.only is None or rule.only[0] in known, rule.name
