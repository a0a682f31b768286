"""Who may call what: every endpoint against every role, and what belongs to somebody else."""

from datetime import timedelta

import pytest
from service_factories import public_key

from provisioner.domain.access import PERMISSIONS, Role
from provisioner.service.api.endpoints import ENDPOINTS
from provisioner.store.secrets import new_token
from provisioner.store.tables import ApiToken


def path_of(endpoint):
    return endpoint.full_path.replace("{id}", "none").replace("{name}", "none")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: f"{e.method} {e.path}")
async def test_without_a_token_nothing_is_answered(anybody, endpoint):
    answer = await anybody.request(endpoint.method, path_of(endpoint))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await answer.json())["code"] == "unauthenticated"


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_reaches_exactly_what_it_may_call(as_role, role):
    client = await as_role(role)
    for endpoint in ENDPOINTS:
        answer = await client.request(endpoint.method, path_of(endpoint))
        allowed = endpoint.permission in PERMISSIONS[role]
        assert (answer.status != 403) is allowed, endpoint


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", "/release"), ("GET", "/events"), ("GET", "/certificates")],
)
async def test_anothers_reservation_is_as_unknown_as_none(as_role, make, method, path):
    (server,) = await make.stock()
    ada, _ = await make.account("Ada")
    lease = await make.lease(server, ada)
    eve = await as_role(Role.CUSTOMER, "Eve")
    answer = await eve.request(method, f"/v1/reservations/{lease.reservation_id}{path}")
    assert (answer.status, (await answer.json())["code"]) == (404, "unknown_reservation")
    assert (await (await eve.get("/v1/reservations")).json())["items"] == []
    operator = await as_role(Role.OPERATOR)
    assert len((await (await operator.get("/v1/reservations")).json())["items"]) == 1


async def test_anothers_key_can_be_neither_used_nor_removed(as_role, make):
    await make.stock()
    ada, eve = await as_role(name="Ada"), await as_role(name="Eve")
    key = await (
        await ada.post("/v1/ssh-keys", json={"name": "laptop", "public_key": public_key()})
    ).json()
    assert (await eve.delete(f"/v1/ssh-keys/{key['id']}")).status == 404
    body = {"class": "lab-2nvme", "image": "debian-12", "duration_s": 60, "ssh_keys": [key["id"]]}
    answer = await eve.post("/v1/reservations", json=body)
    assert (await answer.json())["code"] == "unknown_key"
    assert (await ada.delete(f"/v1/ssh-keys/{key['id']}")).status == 204


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer il_unknown"])
async def test_a_bad_authorization_header_is_refused(anybody, header):
    answer = await anybody.get("/v1/me", headers={"Authorization": header})
    assert answer.status == 401


async def test_an_expired_revoked_or_disabled_token_is_refused(anybody, make, clock, admin):
    account, token = await make.account("Ada")
    headers = {"Authorization": f"Bearer {token}"}
    made = await admin.post(
        f"/v1/accounts/{account.id}/tokens", json={"name": "short", "expires_in_s": 60}
    )
    short = {"Authorization": f"Bearer {(await made.json())['token']}"}
    assert (await anybody.get("/v1/me", headers=short)).status == 200
    clock.turn(seconds=61)
    assert (await anybody.get("/v1/me", headers=short)).status == 401
    assert (await anybody.get("/v1/me", headers=headers)).status == 200
    assert (await admin.post(f"/v1/accounts/{account.id}/disable")).status == 200
    assert (await anybody.get("/v1/me", headers=headers)).status == 401


async def test_tokens_are_stored_as_hashes_only(admin, make, services):
    account, _ = await make.account("Ada")
    answer = await admin.post(f"/v1/accounts/{account.id}/tokens", json={"name": "x"})
    token = (await answer.json())["token"]
    await services.database.close()
    stored = b"".join(p.read_bytes() for p in services.ramdisk_dir.parent.glob("ironlease.db*"))
    assert token.encode() not in stored
    assert ApiToken.__tablename__.encode() in stored
    assert new_token("il") != token


async def test_operators_manage_customers_and_administrators_manage_everybody(
    operator, admin, make
):
    boss, _ = await make.account("Boss", Role.ADMIN)
    new = {"name": "Ada", "email": "ada@example.com"}
    made = await operator.post("/v1/accounts", json=new)
    assert made.status == 201
    assert "password" not in await made.text()
    assert (await operator.post("/v1/accounts", json=new)).status == 409
    upper = {**new, "email": "ADA@example.com"}
    assert (await operator.post("/v1/accounts", json=upper)).status == 409
    for role in ("operator", "admin"):
        answer = await operator.post(
            "/v1/accounts", json={"name": "x", "email": f"{role}@example.org", "role": role}
        )
        assert (await answer.json())["code"] == "admin_only"
    answer = await operator.post(f"/v1/accounts/{boss.id}/tokens", json={"name": "mine"})
    assert (await answer.json())["code"] == "admin_only"
    assert (await operator.post(f"/v1/accounts/{boss.id}/disable")).status == 403
    answer = await admin.post(
        "/v1/accounts", json={"name": "Op", "email": "op@example.org", "role": "operator"}
    )
    assert answer.status == 201
    me = await (await admin.get("/v1/me")).json()
    answer = await admin.post(f"/v1/accounts/{me['id']}/disable")
    assert (await answer.json())["code"] == "own_account"


async def test_the_bootstrap_token_is_an_administrators_and_replaces_the_last(anybody, services):
    from provisioner.accounts.tokens import bootstrap_admin

    tokens = []
    for _ in range(2):
        async with services.database.write() as session:
            tokens.append(await bootstrap_admin(session))
    first, second = [{"Authorization": f"Bearer {token}"} for token in tokens]
    assert (await anybody.get("/v1/me", headers=first)).status == 401
    me = await (await anybody.get("/v1/me", headers=second)).json()
    assert me["role"] == "admin"


async def test_a_lease_that_is_ready_is_not_anothers_to_follow(as_role, make):
    (server,) = await make.stock()
    ada, _ = await make.account("Ada")
    await make.lease(server, ada, lasts=timedelta(minutes=1))
    eve = await as_role(Role.CUSTOMER, "Eve")
    assert (await eve.get(f"/v1/servers/{server.name}")).status == 403
