"""What machines are told at boot: the ramdisk in a window only, its identity once only."""

import asyncio
from datetime import timedelta
from ipaddress import ip_network

import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlmodel import select

from provisioner.domain.lifecycle import State, Step, Verb
from provisioner.service.app import make_app
from provisioner.service.boot import identity as identity_handlers
from provisioner.store.secrets import token_hash
from provisioner.store.tables import AgentIdentity, AuditEvent, Boot

MAC = "52:54:00:77:00:01"
ASK = {"mac": MAC, "serial": "ILSRV01"}


async def script(client, **query):
    answer = await client.get("/boot/ipxe", params={**ASK, **query})
    assert answer.status == 200
    assert answer.content_type == "text/plain"
    text = await answer.text()
    assert text.startswith("#!ipxe\n")
    if "vmlinuz" in text:
        return "ramdisk"
    return "disk" if "exit" in text else "hold"


@pytest.fixture
async def window(make):
    """A server being inspected, with an open boot window: (server, boot, token)."""
    await make.server_class()
    server = await make.server(1, State.INSPECTING)
    operation = await make.operation(server)
    boot, token = await make.boot(server, operation)
    return server, boot, token


NONCE = "a-nonce-of-this-boot"


def identity_of(boot_token, **changes):
    return {"token": boot_token, "boot_id": "b-1", "serial": "ILSRV01", "mac": MAC, **changes}


async def test_an_unknown_machine_boots_its_disk(anybody):
    assert await script(anybody) == "disk"
    assert await script(anybody, mac="nonsense") == "disk"


async def test_an_open_window_gives_the_ramdisk_with_its_token(anybody, make, window, clock):
    server, boot, token = window
    answer = await anybody.get("/boot/ipxe", params={**ASK, "mac": MAC.upper()})
    text = await answer.text()
    assert f"ironlease.token={token}" in text
    assert answer.headers["Cache-Control"] == "no-store"
    assert (await make.get(boot)).asked_at == clock()
    assert (await make.get(server)).attention == 1
    clock.turn(seconds=5)
    assert await script(anybody) == "ramdisk"
    assert (await make.get(boot)).asked_at == clock() - timedelta(seconds=5)


@pytest.mark.parametrize(
    "values",
    [
        {"expires_at": "past"},
        {"closed_at": "now"},
        {"identified_at": "now"},
    ],
    ids=["expired", "closed", "used"],
)
async def test_without_an_open_window_a_known_server_is_held(anybody, make, clock, values):
    await make.server_class()
    server = await make.server(1, State.INSPECTING)
    times = {"past": clock(), "now": clock()}
    operation = await make.operation(server)
    await make.boot(server, operation, **{k: times[v] for k, v in values.items()})
    assert await script(anybody) == "hold"


async def test_another_serial_behind_the_mac_gets_no_token(anybody, window):
    assert await script(anybody, serial="OTHER") == "hold"
    assert await script(anybody, serial="") == "ramdisk"


@pytest.mark.parametrize(
    ("state", "step", "expected"),
    [
        (State.LEASED, None, "disk"),
        (State.IMAGING, Step.WRITE_IMAGE, "hold"),
        (State.IMAGING, Step.PERSONALISE, "hold"),
        (State.IMAGING, Step.AWAIT_TENANT, "disk"),
        (State.IMAGING, Step.OPEN_PORT, "disk"),
        (State.RECLAIMING, Step.POWER_OFF, "hold"),
        (State.AVAILABLE, None, "hold"),
        (State.QUARANTINED, None, "hold"),
    ],
)
async def test_only_a_running_lease_boots_the_disk(anybody, make, state, step, expected):
    await make.server_class()
    server = await make.server(1, state)
    account, _ = await make.account("Ada")
    lease = await make.lease(server, account)
    if step is not None:
        await make.operation(server, Verb.IMAGE, step, lease_id=lease.id)
    assert await script(anybody) == expected
    make.services.clock.turn(hours=2)
    assert await script(anybody) == "hold"


async def test_a_boot_token_is_exchanged_for_the_identity(anybody, make, window, services, clock):
    server, boot, token = window
    answer = await anybody.post("/boot/identity", json=identity_of(token))
    assert answer.status == 200
    identity = await answer.json()
    assert identity["server"] == server.id
    assert identity["hostname"] == server.name
    assert identity["ssh_host_key"] == "a private host key"
    assert identity["authorized_key"] == services.authorized_key
    agent = identity["agent"]
    assert agent["url"] == services.machine_url
    assert (agent["server"], agent["context"], agent["grant"]) == (server.id, "ramdisk", None)
    row = await make.get(boot)
    assert row.identified_at == clock()
    assert services.secret_box.open(row.agent_token_secret) == agent["token"]
    assert await script(anybody) == "hold"

    ready = await anybody.post(
        "/boot/ready",
        json={"boot_id": "b-1"},
        headers={"Authorization": f"Bearer {agent['token']}"},
    )
    assert ready.status == 204
    assert (await make.get(boot)).ready_at == clock()
    assert (await make.get(server)).attention == 2


async def test_of_many_exchanges_at_once_one_succeeds(anybody, window, services):
    _, _, token = window
    answers = await asyncio.gather(
        *(anybody.post("/boot/identity", json=identity_of(token)) for _ in range(10))
    )
    assert sorted(answer.status for answer in answers) == [200] + [403] * 9
    async with services.database.read() as session:
        assert len((await session.exec(select(AgentIdentity))).all()) == 1


async def test_a_lost_answer_is_given_again_to_whoever_repeats_the_request(
    anybody, make, window, services, monkeypatch
):
    clock = services.clock
    _, boot, token = window
    request = identity_of(token, nonce=NONCE)
    with monkeypatch.context() as lost:
        lost.setattr(identity_handlers, "_agent_config", lambda *_: 1 / 0)  # after it is spent
        assert (await anybody.post("/boot/identity", json=request)).status == 500
    assert (await make.get(boot)).identified_at == clock()
    clock.turn(seconds=5)
    answers = [await anybody.post("/boot/identity", json=request) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    first, second = [await answer.json() for answer in answers]
    assert first == second
    assert first["agent"]["token"] == services.secret_box.open(boot.agent_token_secret)
    assert (await make.get(boot)).identified_at == clock() - timedelta(seconds=5)
    async with services.database.read() as session:
        assert len((await session.exec(select(AgentIdentity))).all()) == 1
        events = (await session.exec(select(AuditEvent).order_by(AuditEvent.id))).all()
    assert [event.action for event in events] == [
        "boot.identified",
        "boot.identified_again",
        "boot.identified_again",
    ]


async def test_of_many_requests_at_once_with_one_nonce_each_gets_the_same_identity(
    anybody, window, services
):
    _, _, token = window
    answers = await asyncio.gather(
        *(anybody.post("/boot/identity", json=identity_of(token, nonce=NONCE)) for _ in range(10))
    )
    assert [answer.status for answer in answers] == [200] * 10
    async with services.database.read() as session:
        assert len((await session.exec(select(AgentIdentity))).all()) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [(NONCE, NONCE[::-1]), (NONCE, ""), ("", NONCE), ("", "")],
    ids=["another nonce", "no nonce", "none at first", "none at all"],
)
async def test_another_requester_does_not_get_the_identity(anybody, window, first, second):
    _, _, token = window
    answer = await anybody.post("/boot/identity", json=identity_of(token, nonce=first))
    assert answer.status == 200
    answer = await anybody.post("/boot/identity", json=identity_of(token, nonce=second))
    assert (answer.status, (await answer.json())["code"]) == (403, "spent_boot_token")


@pytest.mark.parametrize("over", ["ready_at", "closed_at", "expires_at"])
async def test_the_request_is_repeated_in_vain_once_the_boot_is_ready_or_over(
    anybody, window, services, clock, over
):
    _, boot, token = window
    request = identity_of(token, nonce=NONCE)
    assert (await anybody.post("/boot/identity", json=request)).status == 200
    async with services.database.write() as session:
        setattr(await session.get_one(Boot, boot.id), over, clock())
    answer = await anybody.post("/boot/identity", json=request)
    assert (answer.status, (await answer.json())["code"]) == (403, "spent_boot_token")


@pytest.mark.parametrize("nonce", ["short", "x" * 65, "a nonce with spaces", "nönce" * 4, 7, None])
async def test_a_nonce_is_random_characters_within_bounds(anybody, make, window, nonce):
    _, boot, token = window
    answer = await anybody.post("/boot/identity", json=identity_of(token, nonce=nonce))
    assert (answer.status, (await answer.json())["code"]) == (400, "bad_message")
    assert (await make.get(boot)).identified_at is None


async def test_only_a_digest_of_the_nonce_is_kept(anybody, make, window):
    _, boot, token = window
    await anybody.post("/boot/identity", json=identity_of(token, nonce=NONCE))
    assert (await make.get(boot)).nonce_hash == token_hash(NONCE)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"serial": "OTHER"}, "other_machine"),
        ({"mac": "52:54:00:77:00:02"}, "other_machine"),
        ({"token": "ilboot_unknown"}, "unknown_boot_token"),
    ],
)
async def test_a_machine_that_is_not_the_one_is_refused(anybody, make, window, changes, code):
    _, boot, token = window
    answer = await anybody.post("/boot/identity", json=identity_of(token, **changes))
    assert (answer.status, (await answer.json())["code"]) == (403, code)
    assert (await make.get(boot)).identified_at is None
    assert (await anybody.post("/boot/identity", json=identity_of(token))).status == 200


async def test_an_expired_or_closed_window_gives_no_identity(
    anybody, make, window, clock, services
):
    _, boot, token = window
    clock.turn(minutes=16)
    answer = await anybody.post("/boot/identity", json=identity_of(token))
    assert (answer.status, (await answer.json())["code"]) == (403, "spent_boot_token")
    clock.turn(minutes=-10)
    async with services.database.write() as session:
        (await session.get_one(Boot, boot.id)).closed_at = clock()
    answer = await anybody.post("/boot/identity", json=identity_of(token))
    assert (answer.status, (await answer.json())["code"]) == (403, "spent_boot_token")


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"\xff", b'{"token": 1}', b"{" * 5000])
async def test_a_malformed_message_is_a_problem(anybody, body):
    answer = await anybody.post("/boot/identity", data=body)
    assert (answer.status, (await answer.json())["code"]) == (400, "bad_message")


async def test_only_a_ramdisks_agent_says_ready(anybody, make):
    await make.server_class()
    server = await make.server(1, State.LEASED)
    account, api_token = await make.account("Ada")
    _, token = await make.agent(server, lease=await make.lease(server, account))
    for bad, status in ((token, 403), (api_token, 401), ("x", 401)):
        answer = await anybody.post(
            "/boot/ready", json={"boot_id": "b"}, headers={"Authorization": f"Bearer {bad}"}
        )
        assert answer.status == status


async def test_boot_files_are_served_in_ranges(anybody):
    answer = await anybody.get("/boot/files/ramdisk.img")
    assert answer.headers["Content-Length"] == "256"
    assert await answer.read() == bytes(range(256))
    answer = await anybody.get("/boot/files/ramdisk.img", headers={"Range": "bytes=10-19"})
    assert (answer.status, await answer.read()) == (206, bytes(range(10, 20)))
    head = await anybody.head("/boot/files/vmlinuz")
    assert (head.status, head.headers["Content-Length"]) == (200, "6")


@pytest.mark.parametrize("name", ["other", "..%2Fironlease.db", "%2e%2e", "vmlinuz%00"])
async def test_no_other_file_is_served(anybody, name):
    from yarl import URL

    answer = await anybody.get(URL(f"/boot/files/{name}", encoded=True))
    assert answer.status in (400, 404)


async def test_a_missing_ramdisk_says_what_to_do(anybody, services):
    (services.ramdisk_dir / "vmlinuz").unlink()
    answer = await anybody.get("/boot/files/vmlinuz")
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (404, "no_ramdisk")
    assert problem["next_action"]


async def test_machines_doors_open_on_their_networks_only(services):
    from dataclasses import replace

    for network, status in (("10.77.0.0/24", 403), ("127.0.0.0/8", 200)):
        app = make_app(replace(services, machine_networks=(ip_network(network),)))
        async with TestClient(TestServer(app)) as client:
            assert (await client.get("/boot/ipxe", params=ASK)).status == status
            assert (await client.get("/healthz")).status == 200


async def test_the_identity_row_holds_only_a_hash(anybody, window, services):
    _, _, token = window
    identity = await (await anybody.post("/boot/identity", json=identity_of(token))).json()
    async with services.database.read() as session:
        row = (await session.exec(select(AgentIdentity))).one()
    assert row.token_hash == token_hash(identity["agent"]["token"])
