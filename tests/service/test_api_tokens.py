"""API tokens over the API: listed, revoked one by one, and never without an end unasked."""

from datetime import timedelta

import pytest

from provisioner.domain.access import Role


def pytest_generate_tests(metafunc):
    metafunc.parametrize("database_kind", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database_kind(request):
    return request.param


async def listed(client, **parameters):
    answer = await client.get("/v1/tokens", params=parameters)
    assert answer.status == 200, await answer.text()
    return (await answer.json())["items"]


async def test_everybody_lists_their_own_tokens_without_secrets(admin, as_role, make, anybody):
    account, token = await make.account("Ada")
    new = {"name": "nightly job", "expires_in_s": 3600}
    made = await (await admin.post(f"/v1/accounts/{account.id}/tokens", json=new)).json()
    as_ada = {"Authorization": f"Bearer {token}"}
    answer = await anybody.get("/v1/tokens", headers=as_ada)
    text = await answer.text()
    assert [item["name"] for item in (await answer.json())["items"]] == ["test", "nightly job"]
    assert made["token"] not in text
    assert "hash" not in text


async def test_a_token_ends_after_90_days_unless_never_is_asked_for(admin, make, clock):
    account, _ = await make.account("Ada")
    path = f"/v1/accounts/{account.id}/tokens"
    await admin.post(path, json={"name": "default"})
    await admin.post(path, json={"name": "endless", "expires_in_s": None})
    names = [item["name"] for item in await listed(admin, account=account.id)]
    assert names == ["test", "default", "endless"]
    clock.turn(days=90)
    names = [item["name"] for item in await listed(admin, account=account.id)]
    assert names == ["test", "endless"]


async def test_the_last_use_is_known_to_the_hour(customer, clock):
    began = clock()
    (token,) = await listed(customer)
    first = token["last_used_at"]
    assert first is not None
    clock.turn(minutes=59)
    assert (await listed(customer))[0]["last_used_at"] == first
    clock.turn(minutes=1)
    later = (await listed(customer))[0]["last_used_at"]
    assert later > first
    assert clock() - began == timedelta(hours=1)


async def test_a_revoked_token_stops_working_and_others_go_on(admin, anybody, make):
    account, kept = await make.account("Ada")
    path = f"/v1/accounts/{account.id}/tokens"
    made = await (await admin.post(path, json={"name": "leaked"})).json()
    as_kept = {"Authorization": f"Bearer {kept}"}
    as_leaked = {"Authorization": f"Bearer {made['token']}"}
    answer = await anybody.delete(f"/v1/tokens/{made['id']}", headers=as_kept)
    assert answer.status == 204
    assert (await anybody.get("/v1/me", headers=as_leaked)).status == 401
    assert (await anybody.get("/v1/me", headers=as_kept)).status == 200
    assert (await anybody.delete(f"/v1/tokens/{made['id']}", headers=as_kept)).status == 204
    events = (await (await admin.get(f"/v1/audit?subject={account.id}")).json())["items"]
    assert [event["action"] for event in events].count("token.revoke") == 1


async def test_others_tokens_are_unknown_to_a_customer(customer, as_role, make):
    other = await as_role(Role.CUSTOMER, "other")
    (token,) = await listed(other)
    answer = await customer.delete(f"/v1/tokens/{token['id']}")
    assert (answer.status, (await answer.json())["code"]) == (404, "unknown_token")
    answer = await customer.get("/v1/tokens", params={"account": token["account"]})
    assert answer.status in (403, 404)
    assert len(await listed(other)) == 1


async def test_operators_manage_customers_tokens_and_administrators_everybodys(
    operator, admin, customer
):
    (of_customer,), (of_admin,) = await listed(customer), await listed(admin)
    answer = await operator.get("/v1/tokens", params={"account": of_admin["account"]})
    assert (await answer.json())["code"] == "admin_only"
    answer = await operator.delete(f"/v1/tokens/{of_admin['id']}")
    assert (await answer.json())["code"] == "admin_only"
    assert len(await listed(operator, account=of_customer["account"])) == 1
    assert (await operator.delete(f"/v1/tokens/{of_customer['id']}")).status == 204
    (of_operator,) = await listed(operator)
    assert (await admin.delete(f"/v1/tokens/{of_operator['id']}")).status == 204
    assert (await operator.get("/v1/me")).status == 401


async def test_lists_of_tokens_have_pages(admin, make):
    account, _ = await make.account("Ada")
    for number in range(3):
        await admin.post(f"/v1/accounts/{account.id}/tokens", json={"name": str(number)})
    answer = await admin.get("/v1/tokens", params={"account": account.id, "limit": 2})
    page = await answer.json()
    assert [item["name"] for item in page["items"]] == ["test", "0"]
    rest = await listed(admin, account=account.id, cursor=page["next"])
    assert [item["name"] for item in rest] == ["1", "2"]
