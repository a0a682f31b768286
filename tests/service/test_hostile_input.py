"""What is no text, no number or no form gets an answer of 4xx that names the place, and no table
holds it afterwards."""

import asyncio
import gzip
from contextlib import suppress

import pytest
from service_factories import PASSWORD, document, public_key

from provisioner.domain.lifecycle import State
from provisioner.service.agents.ingest import INGEST

BOTH = pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"])
NUL = "nvme0\0"


def report_of(server, **changes):
    return {
        "server": server.id,
        "context": "ramdisk",
        "boot_id": "b-1",
        "sequence": 1,
        "uptime_s": 12.5,
        "agent_version": "0.1.0",
        "hostname": "box",
        "lease": None,
        **changes,
    }


def disk(**signals):
    return {"state": "ok", "disks": [{"name": "nvme0", **signals}]}


@pytest.fixture
async def ramdisk(make):
    """A server with its ramdisk's agent: (server, identity, token)."""
    await make.server_class()
    server = await make.server(1, State.INSPECTING)
    boot, _ = await make.boot(server, await make.operation(server))
    return server, *await make.agent(server, boot=boot)


async def raw_status(client, line: bytes, *headers: bytes, body: bytes = b"") -> int:
    """The status that answers these very bytes; a client library would not send them."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    length = [] if any(b"Length" in header for header in headers) else [b"%d" % len(body)]
    head = [line, b"Host: x", b"Connection: close", *headers]
    head += [b"Content-Length: " + value for value in length]
    writer.write(b"\r\n".join([*head, b"", body]))
    status = await reader.readline()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return int(status.split()[1])


def bearer(client) -> bytes:
    return b"Authorization: " + client.session.headers["Authorization"].encode()


REPORTS = [
    ({"health": disk(name=NUL, critical_warning=255)}, "health: name"),
    ({"boot_id": NUL}, "boot_id"),
    ({"boot_id": "b" * 1000}, "boot_id"),
    ({"hostname": "h" * 1000}, "hostname"),
    ({"hostname": "\ud800"}, "not JSON"),
    ({"uptime_s": 10**400}, "uptime_s"),
    ({"uptime_s": 1e17}, "uptime_s"),
    ({"sequence": 10**400}, "sequence"),
    ({"echo": "e" * 1000}, "echo"),
    ({"lease": {"id": NUL, "remaining_s": 0, "locked": True}}, "id"),
    ({"lease": {"id": "l", "remaining_s": 10**400, "locked": True}}, "remaining_s"),
    ({"health": disk(media_errors=10**400)}, "media_errors"),
    ({"health": disk(temperature_c=10**400)}, "temperature_c"),
]


@BOTH
async def test_a_report_that_cannot_be_kept_is_refused_by_the_name_of_its_field(
    anybody, make, ramdisk
):
    server, identity, token = ramdisk
    for changes, place in REPORTS:
        answer = await anybody.post(
            "/agents/report",
            json=report_of(server, **changes),
            headers={"Authorization": f"Bearer {token}"},
        )
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (400, "bad_message"), changes
        assert place in problem["detail"]
    await anybody.server.app[INGEST].flush()
    assert (await make.get(identity)).report == {}


async def test_a_body_that_is_no_message_is_refused(anybody, ramdisk):
    _, _, token = ramdisk
    bodies = (b"", b"[]", b"7", b"null", b"[" * 30_000, b'{"a":' * 10_000, b"\xff", b'{"a": NaN}')
    for path in ("/agents/report", "/boot/ready", "/boot/identity"):
        for body in bodies:
            answer = await anybody.post(
                path, data=body, headers={"Authorization": f"Bearer {token}"}
            )
            problem = await answer.json()
            assert (answer.status, problem["code"]) == (400, "bad_message"), (path, body[:20])


async def test_a_compressed_body_that_is_damaged_is_refused(anybody, as_role, ramdisk):
    _, _, token = ramdisk
    agent = f"Authorization: Bearer {token}".encode()
    customer = bearer(await as_role())
    for path, kind, who in (
        ("/agents/report", b"application/json", agent),
        ("/boot/ready", b"application/json", agent),
        ("/v1/ssh-keys", b"application/json", customer),
        ("/login", b"application/x-www-form-urlencoded", customer),
    ):
        for encoding in (b"gzip", b"deflate"):
            for body in (b"no gzip at all", gzip.compress(b"{}" * 500)[:30]):
                status = await raw_status(
                    anybody,
                    f"POST {path} HTTP/1.1".encode(),
                    b"Content-Encoding: " + encoding,
                    b"Content-Type: " + kind,
                    who,
                    body=body,
                )
                assert 400 <= status < 500, (path, encoding, body)


async def test_a_token_that_is_no_text_is_an_unknown_token(anybody):
    for path in (b"/v1/me", b"/agents/grant?after=1", b"/metrics/gpus"):
        for token in (b"\xff\xfe", "é".encode(), b"\xed\xa0\x80", b"a\x01"):
            header = b"Authorization: Bearer " + token
            status = await raw_status(anybody, b"GET " + path + b" HTTP/1.1", header)
            assert status in (400, 401), (path, token)


ADDRESSES = [
    b"/v1/servers/\xff",
    b"/v1/servers/%ed%a0%80",
    b"/v1/servers/%00",
    b"/v1/servers/" + b"a" * 7000,
    b"/v1/servers?site=\xff",
    b"/v1/servers?\xff=1",
    b"/v1/servers?site=%ed%a0%80",
    b"/v1/servers?limit=" + b"9" * 5000,
    b"/v1/gpus?cursor=a/" + b"9" * 190,
    b"/v1/audit?subject=\xff",
    b"/servers/\xff",
    b"/boot/ipxe?mac=52:54:00:77:00:01&serial=\xff",
    b"/images/\xff/manifest.json",
    b"/metrics/gpus?site=\xff",
    b"/login?next=/\xff",
    b"\xff",
    b"//\xff",
    b"http://[",
    b"http://x:99999999/",
]


async def test_an_address_that_is_no_text_is_answered(anybody, admin):
    for address in ADDRESSES:
        status = await raw_status(anybody, b"GET " + address + b" HTTP/1.1", bearer(admin))
        assert status < 500, address


HEADERS = [
    b"Cookie: ironlease=\xff\xfe",
    b"Cookie: ironlease=a\x00b",
    b"Cookie: =;;=\xff",
    b"Last-Event-ID: \xff\xfe",
    b"Last-Event-ID: " + b"x" * 5000,
    b"Idempotency-Key: \xff",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999999999",
    b"Content-Type: text/html; charset=\xff",
    b"Accept-Language: \xff",
    b"Host: \xff",
    b"Host: [",
    b"Range: bytes=\xff",
]


async def test_a_header_that_is_no_text_is_answered(anybody, admin, make):
    await make.server_class()
    operation = await make.operation(await make.server(1))
    for header in HEADERS:
        for path in (f"/v1/operations/{operation.id}/events", "/", "/v1/me", "/login"):
            line = f"GET {path} HTTP/1.1".encode()
            status = await raw_status(anybody, line, bearer(admin), header)
            assert status < 500, (path, header)


async def test_a_place_in_a_stream_of_events_that_is_none_is_refused(admin, make):
    await make.server_class()
    operation = await make.operation(await make.server(1))
    answer = await admin.get(
        f"/v1/operations/{operation.id}/events", headers={"Last-Event-ID": "x" * 201}
    )
    assert (answer.status, (await answer.json())["code"]) == (422, "invalid_request")


MULTIPART = "multipart/form-data; boundary=x"
FORM = "application/x-www-form-urlencoded"
FORMS = [
    ("multipart/form-data", b""),
    (MULTIPART, b"--x"),
    (MULTIPART, b"--x\r\n\r\n--x--"),
    (MULTIPART, b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n"),
    (
        MULTIPART,
        b'--x\r\nContent-Disposition: form-data; name="csrf"\r\n'
        b"Content-Transfer-Encoding: odd\r\n\r\na\r\n--x--\r\n",
    ),
    (
        MULTIPART,
        b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\n--x--\r\n",
    ),
    ("multipart/form-data; boundary=" + "b" * 100, b"--b"),
    (f"{FORM}; charset=none", b"csrf=a"),
    (f"{FORM}; charset=undefined", b"csrf=a"),
    (f"{FORM}; charset=idna", b"csrf=a"),
    (f"{FORM}; charset=rot13", b"csrf=a"),
    (f"{FORM}; charset=utf-7", b"csrf=+2AA-&email=+2AA-"),
    (FORM, b"csrf=%ed%a0%80"),
    (FORM, b"csrf=%00"),
    (FORM, b"%00=csrf"),
    (FORM, b"\xff=\xff"),
    (FORM, b"a=&" * 50_000),
]


async def test_a_form_that_is_none_is_refused(anybody):
    for content_type, body in FORMS:
        for path in ("/login", "/logout"):
            answer = await anybody.post(path, data=body, headers={"Content-Type": content_type})
            assert 400 <= answer.status < 500, (content_type, body[:80])


async def test_a_login_with_odd_characters_is_a_wrong_login(browser, make):
    await make.account("Ada", password=PASSWORD)
    answer = await browser.log_in("a@\u202e.example", "\u0001" * 300)
    assert answer.status == 401


DOCUMENTS = "/v1/enrolments"
BODIES = [
    ("/v1/ssh-keys", {"name": "a\0b", "public_key": "x"}, "/name"),
    ("/v1/reservations/r/extend", {"by_s": 10**400}, "/by_s"),
    (DOCUMENTS, {"documents": [{"site": "a", "n": 10**30}]}, "/documents/0/n"),
    (DOCUMENTS, {"documents": [{"a\0": 1}]}, "/documents/0"),
    (DOCUMENTS, {"documents": [{"site": float("nan")}]}, "/documents/0/site"),
    (DOCUMENTS, {"documents": [{"site": float("-inf")}]}, "/documents/0/site"),
]


@BOTH
async def test_a_body_with_what_cannot_be_kept_is_refused_with_its_place(admin):
    for path, body, pointer in BODIES:
        answer = await admin.post(path, json=body)
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (422, "invalid_request"), body
        assert problem["errors"][0]["pointer"] == pointer


async def test_a_document_that_is_nested_without_end_is_refused(admin):
    deep: list = []
    for _ in range(150):
        deep = [deep]
    answer = await admin.post(DOCUMENTS, json={"documents": deep})
    assert (answer.status, (await answer.json())["code"]) == (422, "invalid_request")


async def test_an_end_at_the_edge_of_time_is_refused(customer, make):
    await make.stock()
    await customer.post("/v1/ssh-keys", json={"name": "k", "public_key": public_key()})
    wanted = {"class": "lab-2nvme", "image": "debian-12", "duration_s": 7200, "ssh_keys": ["k"]}
    made = await (await customer.post("/v1/reservations", json=wanted)).json()
    for until in (
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
    ):
        answer = await customer.post(f"/v1/reservations/{made['id']}/extend", json={"until": until})
        assert answer.status == 422, until


async def test_a_path_of_an_image_that_no_file_can_have_is_refused(admin):
    boot = {"partition": 1, "kernel": "/k", "cmdline": "/c", "user": "root"}
    for path in ("/" + "a" * 199, "/" + "é" * 199):
        answer = await admin.post(
            "/v1/images", json={"path": path, "name": "i", "title": "t", "boot": boot}
        )
        assert (answer.status, (await answer.json())["code"]) == (422, "no_such_file")


EXPECTED = [
    ({"gpus": "eight"}, "gpus"),
    ({"gpus": 1.5}, "gpus"),
    ({"gpus": True}, "gpus"),
    ({"gpus": -1}, "gpus"),
    ({"gpus": 10**18}, "gpus"),
    ({"cpus": "8"}, "cpus"),
    ({"memory_mib": "much"}, "memory_mib"),
    ({"disks": 2}, "disks"),
    ({"disks": ["a"]}, "disks/0"),
    ({"disks": [{"serial": 7}]}, "disks/0/serial"),
    ({"disks": [{}]}, "disks/0/serial"),
    ({"boot_disk": ["a"]}, "boot_disk"),
    ({"gpu": 8}, "gpu"),
]


async def faults_of(operator, **entry):
    rack = document(1)
    rack["servers"][0].update(entry)
    answer = await operator.post(DOCUMENTS, json={"documents": [rack]})
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (422, "bad_inventory"), entry
    return [(fault["pointer"], fault["reason"]) for fault in problem["errors"]]


async def test_hardware_that_is_expected_must_be_what_inspection_can_find(operator):
    for expect, place in EXPECTED:
        ((pointer, _),) = await faults_of(operator, expect=expect)
        assert pointer == f"/documents/0/servers/0/expect/{place}", expect


async def test_a_server_is_enrolled_with_the_ipv4_address_of_one_machine(operator):
    for address in ("fd00::1", "::ffff:10.77.0.11", "0.0.0.0", "224.0.0.1", "255.255.255.255"):
        ((pointer, reason),) = await faults_of(operator, address=address)
        assert pointer == "/documents/0/servers/0/address"
        assert "IPv4" in reason


DIGITS = ["٣٣٣", "३३३", "３３３", "³", "1_000", "1e3", "+5", " 5", "0x10", "inf", "nan", "1,5"]


@pytest.mark.parametrize("digits", DIGITS)
async def test_a_number_is_written_in_ascii_digits_in_an_inventory(operator, digits):
    rack = document(1)
    rack["classes"][0]["price_per_hour"] = digits
    rack["servers"][0]["bmc"]["port"] = digits
    rack["servers"][0]["expect"] = {"gpus": digits}
    answer = await operator.post(DOCUMENTS, json={"documents": [rack]})
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (422, "bad_inventory")
    assert {fault["pointer"] for fault in problem["errors"]} == {
        "/documents/0/classes/0/price_per_hour",
        "/documents/0/servers/0/bmc/port",
        "/documents/0/servers/0/expect/gpus",
    }


@pytest.mark.parametrize("digits", [each for each in DIGITS if each != " 5"])
async def test_a_number_is_written_in_ascii_digits_in_a_form(browser, make, digits):
    await make.stock()
    await make.account("Ada", password=PASSWORD)
    await browser.log_in("ada@example.com")
    answer = await browser.post(
        "/reserve", "/reserve", ("class", "lab-2nvme"), ("amount", digits), ("unit", "hours")
    )
    assert answer.status == 422
    assert "is not a number" in await answer.text()


async def test_a_number_is_written_in_ascii_digits_in_a_query(operator):
    for digits in ("٣٣٣", "३३३", "３３３", "³", "1e3", "0x10", "inf", "1,5"):
        assert (await operator.get("/v1/servers", params={"limit": digits})).status == 422, digits


async def test_a_name_given_twice_in_a_body_is_refused(customer, anybody, ramdisk):
    bodies = (
        b'{"name": "a", "public_key": "b", "name": "c"}',
        b'{"name": "a", "public_key": "b", "n\\u0061me": "c"}',
        b'{"name": "a", "public_key": {"x": [{"y": 1, "y": 1}]}}',
    )
    for body in bodies:
        headers = {"Content-Type": "application/json"}
        answer = await customer.post("/v1/ssh-keys", data=body, headers=headers)
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (400, "malformed_json"), body
        assert "is given twice" in problem["detail"]
    _, _, token = ramdisk
    for path in ("/agents/report", "/boot/ready", "/boot/identity"):
        sent = {"data": b'{"server": "a", "server": "b"}'}
        answer = await anybody.post(path, headers={"Authorization": f"Bearer {token}"}, **sent)
        assert (answer.status, (await answer.json())["code"]) == (400, "malformed_json"), path
