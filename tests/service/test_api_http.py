"""The API as HTTP: problems for every error, limits, OpenAPI that says what is served."""

from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from service_factories import public_key

from provisioner.service.api.endpoints import ENDPOINTS
from provisioner.service.app import make_app
from provisioner.store.database import Database

PROBLEM = "application/problem+json"


async def problem_of(answer):
    assert answer.content_type == PROBLEM, await answer.text()
    problem = await answer.json()
    assert problem["status"] == answer.status
    assert problem["detail"]
    return problem["code"]


async def test_unknown_addresses_and_methods_are_problems(customer):
    assert await problem_of(await customer.get("/v1/none")) == "not_found"
    answer = await customer.delete("/v1/me")
    assert await problem_of(answer) == "method_not_allowed"
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_json"),
        (b"", "application/json", 400, "malformed_json"),
        (b"[]", "application/json", 422, "invalid_request"),
        (b"null", "application/json", 422, "invalid_request"),
        (b"\xff\xfe", "application/json", 400, "malformed_json"),
        (b'{"name": "\\ud800", "public_key": "x"}', "application/json", 400, "malformed_json"),
        (b"[" * 100_000, "application/json", 400, "malformed_json"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"name=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b" " * 300_000, "application/json", 413, "too_large"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_a_bad_body_is_refused(customer, body, content_type, status, code):
    answer = await customer.post("/v1/ssh-keys", data=body, headers={"Content-Type": content_type})
    assert (answer.status, await problem_of(answer)) == (status, code)


async def test_a_body_of_unknown_length_is_cut_off(customer):
    async def endless():
        for _ in range(10_000):
            yield b" " * 1024

    answer = await customer.post(
        "/v1/ssh-keys", data=endless(), headers={"Content-Type": "application/json"}
    )
    assert await problem_of(answer) == "too_large"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1001", "color=red", "limit=1&limit=2"]
)
async def test_a_bad_query_is_refused(customer, query):
    answer = await customer.get(f"/v1/reservations?{query}")
    assert (answer.status, await problem_of(answer)) == (422, "invalid_request")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/servers/%00",
        "/v1/servers/a%2F..%2Fb",
        "/v1/servers/%ff",
        "/v1/servers/%F0%9F%92%A9",
        "/v1/servers/'%20OR%201=1",
        "/v1/operations?server=%00",
        "/v1/audit?subject=%ff",
        "/v1/reservations?cursor=%27%3B--",
    ],
)
async def test_hostile_addresses_are_answered_calmly(admin, path):
    from yarl import URL

    answer = await admin.get(URL(path, encoded=True))
    assert answer.status < 500


async def test_an_unforeseen_error_shows_no_internals(admin, services, monkeypatch, caplog):
    async def broken(*args, **kwargs):
        raise RuntimeError("the secret plan")

    monkeypatch.setattr(services.bmc, "power", broken)
    from service_factories import Factory

    make = Factory(services)
    await make.stock()
    answer = await admin.get("/v1/servers/r1-u01/power")
    assert (answer.status, await problem_of(answer)) == (500, "internal_error")
    assert "secret plan" not in await answer.text()
    assert "secret plan" in caplog.text


async def test_answers_carry_strict_headers(customer):
    answer = await customer.get("/v1/me")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Server" not in answer.headers


async def test_openapi_describes_every_route_and_no_other(anybody):
    document = await (await anybody.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    served = {
        (route.method, route.resource.canonical)
        for route in anybody.server.app.router.routes()
        if route.resource.canonical.startswith("/v1") and route.method != "HEAD"
    }
    assert described == served
    assert len(described) == len(ENDPOINTS)
    ids = [o["operationId"] for item in document["paths"].values() for o in item.values()]
    assert len(ids) == len(set(ids))
    assert all(o["summary"] for item in document["paths"].values() for o in item.values())


async def test_health_and_metrics_are_answered(anybody, make):
    await make.stock(2)
    assert await (await anybody.get("/healthz")).json() == {"status": "ok"}
    text = await (await anybody.get("/metrics")).text()
    assert 'ironlease_servers{class="lab-2nvme",state="available"} 2.0' in text
    assert 'route="/healthz",status="200"' in text


async def test_without_the_database_all_is_asked_to_come_again(services, tmp_path):
    unreachable = Database(f"sqlite:///{tmp_path}/gone/x.db")
    (tmp_path / "gone").rmdir()
    app = make_app(replace(services, database=unreachable))
    async with TestClient(TestServer(app)) as client:
        for path in ("/healthz", "/v1/me"):
            answer = await client.get(path, headers={"Authorization": "Bearer x"})
            assert (answer.status, await problem_of(answer)) == (503, "no_database")
            assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_usual_keys_are_taken(customer, kind):
    line = public_key("me at home", kind=kind)
    answer = await customer.post("/v1/ssh-keys", json={"name": kind, "public_key": f" {line}\n"})
    assert answer.status == 201
    key = await answer.json()
    assert key["public_key"] == line
    assert key["fingerprint"].startswith("SHA256:")
    again = await customer.post("/v1/ssh-keys", json={"name": "other", "public_key": line})
    assert await problem_of(again) == "key_exists"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello", "not an SSH public key"),
        ("   ", "empty"),
        ("ssh-ed25519 AAAA", "damaged"),
        ("ssh-ed25519", "damaged"),
        ("ssh-ed25519 ÄÄÄÄ me", "damaged"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "private key"),
        (public_key() + "\n" + public_key(), "more than one line"),
        ('command="rm -rf /" ' + public_key(), "options"),
        (public_key(kind="dsa"), "not accepted"),
        (public_key(kind="rsa-2048"), "too weak"),
        (public_key("x").replace("ssh-ed25519 ", "ssh-ed25519 !;"), "damaged"),
    ],
    ids=lambda text: text[:11],  # keys are made anew in each process
)
async def test_a_key_that_is_no_key_is_refused_with_the_reason(customer, text, reason):
    answer = await customer.post("/v1/ssh-keys", json={"name": "x", "public_key": text})
    assert answer.status == 422
    problem = await answer.json()
    assert problem["code"] == "bad_public_key"
    assert reason in problem["errors"][0]["reason"]


async def test_what_is_hostile_in_a_comment_does_not_survive(customer):
    text = public_key("me\x07\u202e<b>;`id`")
    answer = await customer.post("/v1/ssh-keys", json={"name": "x", "public_key": text})
    assert (await answer.json())["public_key"].endswith("me<b>;`id`")
