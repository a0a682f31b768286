"""Operators' use cases over the API: enrol, retry, BMC, operations."""

import json

import pytest
from service_factories import document
from sqlmodel import func, select

from provisioner.domain.lifecycle import OperationState, State, Step, Verb
from provisioner.store.tables import AuditEvent, Incident, Server, ServerClass


async def enrol(client, *documents, dry_run=False):
    answer = await client.post(
        "/v1/enrolments" + ("?dry_run=true" if dry_run else ""), json={"documents": documents}
    )
    return answer.status, await answer.json()


async def count(services, table):
    async with services.database.read() as session:
        return (await session.exec(select(func.count()).select_from(table))).one()


async def test_enrolment_creates_updates_and_leaves_alone(operator, services, clock):
    status, result = await enrol(operator, document(1, 2))
    assert (status, result["created"]) == (201, ["r1-u01", "r1-u02"])
    assert services.database.attention.is_set()
    changed = document(1, 2, 3)
    changed["servers"][1]["bmc"]["password"] = "new"
    changed["classes"][0]["price_per_hour"] = "1.305"
    status, result = await enrol(operator, changed)
    assert result == {"created": ["r1-u03"], "updated": ["r1-u02"], "unchanged": ["r1-u01"]}
    async with services.database.read() as session:
        row = (await session.exec(select(Server).where(Server.name == "r1-u02"))).one()
        server_class = (await session.exec(select(ServerClass))).one()
    assert "new" not in row.bmc_secret
    assert services.secret_box.open(row.bmc_secret) == "new"
    assert server_class.price_micro_per_hour == 1_305_000
    status, result = await enrol(operator, changed)
    assert result["unchanged"] == ["r1-u01", "r1-u02", "r1-u03"]


async def test_a_dry_run_changes_nothing(operator, services):
    status, result = await enrol(operator, document(1), dry_run=True)
    assert (status, result["created"]) == (201, ["r1-u01"])
    assert await count(services, Server) == await count(services, ServerClass) == 0


def set_in(doc, path, value):
    *parents, last = path
    place = doc
    for part in parents:
        place = place[part]
    place[last] = value


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("servers", 1, "name"), "r1-u01", "duplicate name"),
        (("servers", 1, "serial"), "ILSRV01", "duplicate serial"),
        (("servers", 1, "boot_mac"), "52-54-00-77-00-01", "duplicate boot MAC"),
        (("servers", 1, "address"), "10.77.0.11", "duplicate address"),
        (("servers", 1, "bmc", "address"), "10.78.0.11", "duplicate BMC address"),
        (("servers", 1, "class"), "none", "no server class"),
        (("servers", 1, "boot_mac"), "52:54:00:77:00", "six pairs"),
        (("servers", 1, "boot_mac"), "01:54:00:77:00:01", "not the MAC address of one"),
        (("servers", 1, "address"), "10.77.0.300", "the IPv4 address of one machine"),
        (("servers", 1, "bmc", "port"), 70000, "less than or equal to 65535"),
        (("servers", 1, "bmc", "protocol"), "telnet", "ipmi"),
        (("servers", 1, "bmc", "password"), "", "at least 1"),
        (("servers", 1, "name"), "bad name!", "host name"),
        (("servers", 1, "surprise~/x"), 1, "not permitted"),
        (("servers", 1), "r1-u02", "valid dictionary"),
        (("servers",), {}, "must be a list"),
        (("site",), 7, "valid string"),
        (("classes", 0, "price_per_hour"), "1,20", "write a price"),
        (("classes", 0, "price_per_hour"), 1.2, "valid string"),
        (("classes", 0, "currency"), "euro", "match pattern"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_fault_refuses_the_whole_and_says_where(operator, services, path, value, reason):
    doc = document(1, 2)
    set_in(doc, path, value)
    status, problem = await enrol(operator, document(7), doc)
    assert (status, problem["code"]) == (422, "bad_inventory")
    pointer = "/documents/1/" + "/".join(
        str(part).replace("~", "~0").replace("/", "~1") for part in path
    )
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert reason in problem["errors"][0]["reason"]
    assert await count(services, Server) == await count(services, ServerClass) == 0
    assert await count(services, AuditEvent) == 0


async def test_all_faults_are_told_at_once(operator):
    doc = document(1, 2, 3)
    doc["servers"][0]["boot_mac"] = "nonsense"
    doc["servers"][1]["class"] = "none"
    doc["servers"][2]["address"] = doc["servers"][1]["address"]
    del doc["servers"][2]["serial"]
    doc["site"] = ""
    _, problem = await enrol(operator, doc, 7)
    assert [error["pointer"] for error in problem["errors"]] == [
        "/documents/0/servers/0/boot_mac",
        "/documents/0/servers/1/class",
        "/documents/0/servers/2/serial",
        "/documents/0/site",
        "/documents/1",
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("serial",), "ILSRV01"),
        (("boot_mac",), "52:54:00:77:00:01"),
        (("address",), "10.77.0.11"),
        (("bmc", "address"), "10.78.0.11"),
    ],
)
async def test_what_an_enrolled_server_has_cannot_be_another_s(operator, services, path, value):
    await enrol(operator, document(1))
    doc = document(2)
    set_in(doc["servers"][0], path, value)
    status, problem = await enrol(operator, doc)
    assert status == 422
    (error,) = problem["errors"]
    assert error["pointer"] == "/documents/0/servers/0/" + "/".join(path)
    assert "belongs to r1-u01" in error["reason"]
    assert await count(services, Server) == 1


async def test_a_server_under_lease_is_not_changed(operator, make):
    await enrol(operator, document(1))
    server = await make.get_server("r1-u01")
    account, _ = await make.account("Ada")
    await make.lease(server, account)
    doc = document(1)
    doc["servers"][0]["address"] = "10.77.0.99"
    status, problem = await enrol(operator, doc)
    assert status == 422
    assert "is leased" in problem["errors"][0]["reason"]
    status, result = await enrol(operator, document(1))
    assert result["unchanged"] == ["r1-u01"]


async def test_a_parked_operation_is_tried_again(operator, make):
    await make.server_class()
    server = await make.server(1, State.INSPECTING)
    operation = await make.operation(server, state=OperationState.PARKED, attempt=5)
    assert (await operator.post("/v1/servers/r1-u01/retry")).status == 200
    row = await make.get(operation)
    assert (row.state, row.attempt) == (OperationState.RUNNING, 0)
    assert (await make.get(server)).attention == 1
    answer = await operator.post("/v1/servers/r1-u01/retry")
    assert (await answer.json())["code"] == "nothing_parked"


async def test_bmc_credentials_are_changed_and_never_shown(operator, make, services):
    server, _ = await make.stock(2)
    answer = await operator.put(
        "/v1/servers/r1-u01/bmc", json={"username": "root", "password": "n3w", "port": 6230}
    )
    assert answer.status == 200
    assert "n3w" not in await answer.text()
    row = await make.get(server)
    assert services.secret_box.open(row.bmc_secret) == "n3w"
    assert (row.bmc_username, row.bmc_port, row.attention) == ("root", 6230, 1)
    taken = {"username": "a", "password": "b", "address": "10.78.0.12", "port": 623}
    answer = await operator.put("/v1/servers/r1-u01/bmc", json=taken)
    assert (await answer.json())["code"] == "bmc_address_taken"


async def test_power_is_read_from_the_bmc(operator, make):
    await make.stock()
    assert await (await operator.get("/v1/servers/r1-u01/power")).json() == {"power": "off"}


async def test_a_silent_bmc_is_a_problem_with_a_next_action(operator, make, bmc):
    await make.stock()
    bmc.silent.add("10.78.0.11")
    for path in ("power", "sensors", "event-log", "inventory"):
        answer = await operator.get(f"/v1/servers/r1-u01/{path}")
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (502, "bmc_unreachable")
        assert problem["next_action"]


async def test_a_server_shows_all_that_belongs_to_it(operator, make, services, clock):
    (server,) = await make.stock()
    operation = await make.operation(server, Verb.SANITISE, Step.SANITISE_DISKS)
    clock.turn(minutes=1)
    await make.certificate(server, operation, "IL01-A", clock())
    account, _ = await make.account("Ada")
    lease = await make.lease(server, account)
    await make.add(Incident(server_id=server.id, kind="stuck", reason="slow", next_action="look"))
    shown = await (await operator.get("/v1/servers/r1-u01")).json()
    assert shown["class"] == "lab-2nvme"
    assert shown["seconds_in_state"] == 60
    assert shown["operation"]["step"] == "sanitise_disks"
    assert shown["lease"]["id"] == lease.id
    assert [(d["serial"], d["sanitised"]) for d in shown["disks"]] == [
        ("IL01-A", True),
        ("IL01-B", False),
    ]
    assert shown["incidents"][0]["reason"] == "slow"
    assert "secret" not in json.dumps(shown)
    listed = await (await operator.get("/v1/servers?state=available&rack=r1")).json()
    assert listed["items"] == [shown]
    assert (await (await operator.get("/v1/servers?state=leased")).json())["items"] == []


async def test_a_log_is_followed_to_the_operations_end_from_any_line(operator, make, services):
    await make.server_class()
    server = await make.server(1, State.SANITISING)
    operation = await make.operation(server, Verb.SANITISE, Step.SANITISE_DISKS)
    first, second = await make.log(operation, "markers written", "wiping")
    stream = await operator.get(
        f"/v1/operations/{operation.id}/events", headers={"Last-Event-ID": first.id}
    )
    seen = []
    async for raw in stream.content:
        line = raw.decode().strip()
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            seen.append((name, json.loads(line[6:])))
            if name == "operation" and len(seen) == 2:
                await make.log(operation, "read back")
                async with services.database.write() as session:
                    row = await session.get_one(type(operation), operation.id)
                    row.state, row.ended_at = OperationState.DONE, services.clock()
    assert [data["text"] for name, data in seen if name == "log"] == ["wiping", "read back"]
    assert seen[0][1]["id"] == second.id
    assert seen[-1][0] == "operation"
    assert seen[-1][1]["state"] == "done"
    rest = await (await operator.get(f"/v1/operations/{operation.id}/log?after={second.id}")).json()
    assert [line["text"] for line in rest["items"]] == ["read back"]


async def test_incidents_and_audit_are_listed(operator, make):
    (server,) = await make.stock()
    await make.add(Incident(server_id=server.id, kind="stuck", reason="slow", next_action="look"))
    await operator.post("/v1/servers/r1-u01/requests", json={"verb": "quarantine"})
    incidents = await (await operator.get("/v1/incidents?open=true")).json()
    assert incidents["items"][0]["server"] == "r1-u01"
    assert (await (await operator.get("/v1/incidents?open=false")).json())["items"] == []
    audit = await (await operator.get(f"/v1/audit?subject={server.id}")).json()
    assert [event["action"] for event in audit["items"]] == ["server.request"]
