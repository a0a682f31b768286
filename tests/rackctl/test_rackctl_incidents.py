"""Incidents in rackctl: which are closed by hand, and which are not."""

import json

from rackctl_service import Rackctl, Service

from provisioner.store.tables import Incident


async def _breaker(service: Service) -> str:
    incident = Incident(kind="breaker", reason="9 of 20 servers turned faulty", next_action="look")
    async with service.database.write() as session:
        session.add(incident)
    return incident.id


def test_the_breakers_incident_is_shown_and_closed(rackctl: Rackctl, service: Service) -> None:
    incident = service.background.run(_breaker(service))
    assert "9 of 20 servers" in rackctl("incident", "list").out
    closed = rackctl("incident", "close", incident, "-o", "json")
    assert closed.code == 0, closed.err
    assert json.loads(closed.out)["closed_at"]
    assert incident not in rackctl("incident", "list").out


def test_a_servers_incident_is_not_closed_by_hand(rackctl: Rackctl) -> None:
    listed = json.loads(rackctl("incident", "list", "-o", "json").out)["items"]
    ran = rackctl("incident", "close", listed[0]["id"])
    assert ran.code == 1
    assert "closes when what it reports is over" in ran.err


def test_an_incident_is_acknowledged_assigned_and_noted(rackctl: Rackctl) -> None:
    listed = json.loads(rackctl("incident", "list", "-o", "json").out)["items"]
    which = listed[0]["id"]
    mine = json.loads(rackctl("incident", "assign", which, "-o", "json").out)
    assert mine["assignee"] == mine["acknowledged_by"]
    assert json.loads(rackctl("incident", "acknowledge", which, "-o", "json").out) == mine
    noted = json.loads(rackctl("incident", "note", which, "a fan is ordered", "-o", "json").out)
    assert [note["text"] for note in noted["notes"]] == ["a fan is ordered"]
    free = json.loads(rackctl("incident", "assign", which, "--nobody", "-o", "json").out)
    assert free["assignee"] is None
