"""Requests on servers over the API: what is filed, refused and listed."""

import pytest
from sqlmodel import select

from provisioner.domain.access import Role
from provisioner.domain.lifecycle import (
    ALLOWED,
    RequestOutcome,
    RequestVerb,
    State,
)
from provisioner.store.tables import AuditEvent, Lease, ServerRequest


async def requests(services):
    async with services.database.read() as session:
        return (await session.exec(select(ServerRequest))).all()


@pytest.fixture
async def leased(make, services):
    """A server that was handed over to Ada: (server, lease, her token)."""
    await make.server_class()
    await make.image()
    server = await make.server(1, State.LEASED)
    account, token = await make.account("Ada")
    lease = await make.lease(server, account, ready_at=services.clock())
    return server, lease, token


def as_account(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("state", [state for state in State if state is not State.LEASED])
@pytest.mark.parametrize("verb", [verb for verb in RequestVerb if verb is not RequestVerb.IMAGE])
async def test_a_request_is_filed_where_the_state_allows_it(operator, make, services, state, verb):
    await make.server_class()
    server = await make.server(1, state)
    answer = await operator.post(
        "/v1/servers/r1-u01/requests", json={"verb": verb.value, "reason": "fan is loud"}
    )
    body = await answer.json()
    if verb in ALLOWED[state]:
        assert answer.status == 202
        (row,) = await requests(services)
        assert (row.verb, row.outcome) == (verb, RequestOutcome.WAITING)
        assert (body["id"], body["verb"], body["reason"]) == (row.id, verb, "fan is loud")
        assert (await make.get(server)).attention == 1
        shown = await (await operator.get("/v1/servers/r1-u01")).json()
        assert [request["id"] for request in shown["requests"]] == [row.id]
        assert set(shown["allowed_requests"]) == set(ALLOWED[state])
    else:
        assert (answer.status, body["code"]) == (409, "request_refused")
        assert await requests(services) == []
        assert (await make.get(server)).attention == 0


async def test_a_request_is_in_the_audit_trail_with_its_reason(operator, make, services):
    await make.stock()
    await operator.post(
        "/v1/servers/r1-u01/requests", json={"verb": "quarantine", "reason": "fan is loud"}
    )
    async with services.database.read() as session:
        (event,) = (await session.exec(select(AuditEvent))).all()
    assert (event.action, event.detail["verb"]) == ("server.request", "quarantine")
    assert event.detail["reason"] == "fan is loud"
    me = await (await operator.get("/v1/me")).json()
    assert event.actor == f"account:{me['id']}"


async def test_a_later_request_for_a_state_replaces_the_one_that_waits(operator, make):
    await make.stock()
    for verb in ("maintain", "retire"):
        await operator.post("/v1/servers/r1-u01/requests", json={"verb": verb})
    listed = await (await operator.get("/v1/servers/r1-u01/requests")).json()
    assert [(each["verb"], each["outcome"]) for each in listed["items"]] == [
        ("retire", "waiting"),
        ("maintain", "cancelled"),
    ]
    assert listed["items"][1]["failure"] == "retire was requested instead"


async def test_an_image_is_installed_with_keys_and_nothing_else_has_them(operator, make, services):
    await make.server_class()
    image = await make.image()
    await make.server(1, State.MAINTENANCE)
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ1dCBub3QgYSByZWFsIGtleSwgYnV0IGF0IGFsbCEh me"
    for wrong in (
        {"verb": "image"},
        {"verb": "image", "image": "debian-12"},
        {"verb": "validate", "image": "debian-12", "ssh_keys": [key]},
    ):
        answer = await operator.post("/v1/servers/r1-u01/requests", json=wrong)
        assert answer.status == 422, wrong
    answer = await operator.post(
        "/v1/servers/r1-u01/requests",
        json={"verb": "image", "image": "debian-12", "ssh_keys": [key]},
    )
    assert answer.status == 202
    (row,) = await requests(services)
    assert row.arguments == {"image_id": image.id, "authorized_keys": [key]}


@pytest.mark.parametrize("verb", sorted(ALLOWED[State.LEASED]))
async def test_a_customer_requests_work_on_their_server(anybody, leased, services, verb):
    server, lease, token = leased
    path = f"/v1/reservations/{lease.reservation_id}"
    answer = await anybody.post(
        f"{path}/requests", json={"verb": verb.value}, headers=as_account(token)
    )
    assert answer.status == 202
    (row,) = await requests(services)
    assert (row.verb, row.server_id, row.lease_id) == (verb, server.id, lease.id)
    listed = await (await anybody.get(f"{path}/requests", headers=as_account(token))).json()
    assert [each["id"] for each in listed["items"]] == [row.id]
    shown = await (await anybody.get(path, headers=as_account(token))).json()
    assert shown["lease"]["last_request"]["id"] == row.id
    assert verb.value in shown["allowed_actions"]
    async with services.database.read() as session:
        actions = (await session.exec(select(AuditEvent.action))).all()
    assert actions == ["reservation.request"]


async def test_a_stopped_server_can_be_started_or_reinstalled(anybody, leased, services):
    _, lease, token = leased
    async with services.database.write() as session:
        (await session.get_one(Lease, lease.id)).stopped_at = services.clock()
    answer = await anybody.get(
        f"/v1/reservations/{lease.reservation_id}", headers=as_account(token)
    )
    shown = await answer.json()
    assert (shown["lease"]["state"], shown["lease"]["ssh_command"]) == ("stopped", "")
    assert set(shown["allowed_actions"]) == {"extend", "start", "reinstall", "release"}


@pytest.mark.parametrize("verb", ["sanitise", "image", "quarantine", "power_off"])
async def test_a_customer_cannot_request_what_is_an_operators(anybody, leased, services, verb):
    _, lease, token = leased
    answer = await anybody.post(
        f"/v1/reservations/{lease.reservation_id}/requests",
        json={"verb": verb},
        headers=as_account(token),
    )
    assert (answer.status, (await answer.json())["code"]) == (409, "request_refused")
    assert await requests(services) == []


async def test_another_accounts_reservation_is_as_unknown_as_none(anybody, leased, make):
    _, lease, _ = leased
    _, token = await make.account("Eve")
    path = f"/v1/reservations/{lease.reservation_id}/requests"
    answer = await anybody.post(path, json={"verb": "reboot"}, headers=as_account(token))
    assert answer.status == 404
    assert (await anybody.get(path, headers=as_account(token))).status == 404


async def test_an_operator_requests_work_for_a_customer(operator, leased, services):
    _, lease, _ = leased
    answer = await operator.post(
        f"/v1/reservations/{lease.reservation_id}/requests", json={"verb": "power_cycle"}
    )
    assert answer.status == 202
    answer = await operator.post("/v1/servers/r1-u01/requests", json={"verb": "power_cycle"})
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (409, "request_refused")
    assert "reservation" in problem["next_action"]


async def test_a_server_that_was_not_handed_over_takes_no_request(anybody, make):
    await make.server_class()
    await make.image()
    server = await make.server(1, State.IMAGING)
    account, token = await make.account("Ada", Role.CUSTOMER)
    lease = await make.lease(server, account)
    answer = await anybody.post(
        f"/v1/reservations/{lease.reservation_id}/requests",
        json={"verb": "reboot"},
        headers=as_account(token),
    )
    assert (answer.status, (await answer.json())["code"]) == (409, "not_ready")


async def test_a_reinstallation_names_an_image_that_exists(anybody, leased, services):
    _, lease, token = leased
    path = f"/v1/reservations/{lease.reservation_id}/requests"
    wrong = {"verb": "reinstall", "image": "none"}
    answer = await anybody.post(path, json=wrong, headers=as_account(token))
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (422, "unknown_image")
    elsewhere = {"verb": "reboot", "image": "debian-12"}
    assert (await anybody.post(path, json=elsewhere, headers=as_account(token))).status == 422
    assert await requests(services) == []
