"""The service's status in rackctl."""

import json

from rackctl_service import Rackctl, Service


def test_the_service_its_servers_and_its_loops_are_shown(
    rackctl: Rackctl, service: Service
) -> None:
    shown = rackctl("status")
    assert shown.code == 0, shown.err
    assert "sqlite, answered in" in shown.out
    assert "available" in shown.out
    assert "LAST TURN" in shown.out
    assert "reports" in shown.out


def test_programs_get_the_apis_own_object(rackctl: Rackctl) -> None:
    found = json.loads(rackctl("status", "-o", "json").out)
    assert found["version"] in rackctl("status").out
    assert [loop["name"] for loop in found["loops"]] == ["reports"]
