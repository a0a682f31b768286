"""Looking for a thing by what is known of it: the beginning of its identifier, or its name."""

import pytest
from service_factories import public_key

from provisioner.domain.access import Role
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import Step, Verb
from provisioner.store.tables import AuditEvent, Incident

BODY = {"class": "lab-2nvme", "image": "debian-12", "duration_s": 7200, "ssh_keys": ["laptop"]}


@pytest.fixture
def database_kind(request):
    return request.param


def pytest_generate_tests(metafunc):
    metafunc.parametrize("database_kind", ["sqlite", "postgresql"], indirect=True)


async def found(client, address, **parameters):
    answer = await client.get(f"/v1/{address}", params=parameters)
    assert answer.status == 200, await answer.text()
    return [item["id"] for item in (await answer.json())["items"]]


async def reserve(client, hostname):
    body = {"name": "laptop", "public_key": public_key()}
    await client.post("/v1/ssh-keys", json=body)
    answer = await client.post("/v1/reservations", json={**BODY, "hostname": hostname})
    assert answer.status == 201, await answer.text()
    return await answer.json()


async def test_a_reservation_is_found_by_name_or_first_characters_in_any_case(
    as_role, operator, make
):
    await make.stock(2)
    ada = await as_role(Role.CUSTOMER, "ada")
    made = await reserve(ada, "box-1")
    other = await reserve(ada, "box-2")
    assert await found(operator, "reservations", match="Box-1") == [made["id"]]
    assert await found(operator, "reservations", match=made["id"][:-1].lower()) == [made["id"]]
    assert await found(operator, "reservations", match="res_") == [other["id"], made["id"]]
    assert made["customer"] == "ada"


async def test_others_reservations_are_not_found(as_role, make):
    await make.stock()
    made = await reserve(await as_role(Role.CUSTOMER, "ada"), "box-1")
    bob = await as_role(Role.CUSTOMER, "bob")
    assert await found(bob, "reservations", match="box-1") == []
    assert await found(bob, "reservations", match=made["id"]) == []


@pytest.mark.parametrize("match", ["%", "_", "res%", "r_s_", "\\"])
async def test_what_a_database_takes_for_a_pattern_is_text(operator, make, match):
    await make.stock()
    await reserve(operator, "box-1")
    assert await found(operator, "reservations", match=match) == []


async def test_operations_and_incidents_are_found_by_server_or_first_characters(operator, make):
    first, second = await make.stock(2)
    operations = [await make.operation(s, Verb.SANITISE, Step.POWER_OFF) for s in (first, second)]
    incidents = [
        Incident(server_id=s.id, kind=IncidentKind.FAULT, reason="x", next_action="y")
        for s in (first, second)
    ]
    await make.add(*incidents)
    for address, rows in (("operations", operations), ("incidents", incidents)):
        assert await found(operator, address, match=second.name) == [rows[1].id]
        assert await found(operator, address, match=rows[0].id.lower()) == [rows[0].id]


async def test_the_audit_trail_has_names_and_is_found_by_them(operator, make, services):
    (server,) = await make.stock()
    asked = {"verb": "maintain", "reason": "fan"}
    await operator.post(f"/v1/servers/{server.name}/requests", json=asked)
    await make.add(AuditEvent(actor="reconciler", action="x", subject="elsewhere"))
    for subject in (server.name, server.id, server.id[:-1]):
        answer = await operator.get("/v1/audit", params={"subject": subject})
        (event,) = (await answer.json())["items"]
        assert event["subject_name"] == server.name
        assert event["actor_name"] == "operator@example.com"
        assert event["detail"]["reason"] == "fan"


@pytest.mark.parametrize("verb", ["release", "swap"])
async def test_why_something_was_taken_is_in_the_audit_trail(operator, as_role, make, verb):
    await make.stock(2)
    made = await reserve(await as_role(Role.CUSTOMER, "ada"), "box-1")
    address = f"/v1/reservations/{made['id']}/{verb}"
    answer = await operator.post(address, params={"reason": "asked by phone"})
    assert answer.status == 200, await answer.text()
    events = (await (await operator.get("/v1/audit?subject=box-1")).json())["items"]
    (event,) = (event for event in events if event["action"] == f"reservation.{verb}")
    assert event["detail"] == {"reason": "asked by phone"}
