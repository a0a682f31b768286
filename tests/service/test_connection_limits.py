"""Cheap requests that would stop everybody else are ended or refused, and others are served."""

import asyncio
import errno
import gzip
import logging
import zlib
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import ip_network
from math import inf

import aiohttp
import pytest

from provisioner.domain.lifecycle import State
from provisioner.repeated_log import OncePerPeriod
from provisioner.service.app import make_app
from provisioner.service.http import serving
from provisioner.service.http.connections import ConnectionLimits
from provisioner.service.http.streams import STREAMS

ZEROES = 64 << 20
"""Bytes that a bomb inflates to."""
TRIES = 300


class Site:
    """The application as the daemon serves it."""

    def __init__(self, runner):
        self.runner = runner
        self.server = runner.server
        self.host, self.port = runner.addresses[0][:2]

    @property
    def now(self):
        return asyncio.get_running_loop().time()

    async def connect(self, sent=b""):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(sent)
        await writer.drain()
        return reader, writer

    async def send(self, sent):
        """All that comes back until the connection is closed."""
        reader, writer = await self.connect(sent)
        return await everything(reader, writer)

    async def is_healthy(self):
        answer = await self.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return answer.startswith(b"HTTP/1.1 200")

    async def wait_until(self, reached):
        """Let the service go on until something is so."""
        for _ in range(10_000):
            if reached():
                return
            await asyncio.sleep(0)
        raise AssertionError("it never came to that")


async def everything(reader, writer):
    found = b""
    with suppress(ConnectionError):
        found = await reader.read()
    writer.close()
    return found


@pytest.fixture
def serve(services):
    @asynccontextmanager
    async def serve(limits=None, **changes):
        app = make_app(replace(services, **changes))
        runner = await serving.serve(app, "127.0.0.1", 0, limits=limits)
        try:
            yield Site(runner)
        finally:
            await runner.cleanup()

    return serve


def post(path, body, *headers):
    head = [
        b"POST " + path + b" HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        *headers,
    ]
    return b"\r\n".join([*head, b"", body])


@pytest.mark.parametrize(
    ("coding", "bomb"),
    [(b"gzip", gzip.compress(bytes(ZEROES), 1)), (b"deflate", zlib.compress(bytes(ZEROES), 1))],
)
async def test_nothing_is_inflated_wherever_it_is_sent(serve, monkeypatch, coding, bomb):
    inflated = []
    whole = zlib.decompressobj

    def watched(*arguments, **options):
        inflated.append(arguments)
        return whole(*arguments, **options)

    monkeypatch.setattr(zlib, "decompressobj", watched)
    async with serve() as site:
        for path in (b"/nowhere", b"/login", b"/agents/report", b"/v1/enrolments", b"/healthz"):
            answer = await site.send(post(path, bomb, b"Content-Encoding: " + coding))
            assert answer.startswith(b"HTTP/1.1 415"), path
            assert await site.is_healthy()
    assert inflated == []


async def test_headers_that_do_not_come_are_not_waited_for(serve):
    async with serve() as site:
        silent = await site.connect()
        slow = [await site.connect(b"GET /healthz HTTP/1.1\r\nX-Slow: ") for _ in range(60)]
        await site.wait_until(lambda: sum(c._arrived > 0 for c in site.server._admitted) == 60)
        site.server.sweep(site.now + 9)
        assert len(site.server._admitted) == 61
        site.server.sweep(site.now + 11)
        answers = [await everything(*each) for each in slow]
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
        assert b'"code":"too_slow"' in answers[0]
        assert await everything(*silent) == b""
        await site.wait_until(lambda: not site.server._admitted)
        assert await site.is_healthy()


async def test_the_next_request_of_a_kept_connection_is_not_waited_for_either(serve):
    async with serve() as site:
        reader, writer = await site.connect(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b'"ok"}')).startswith(b"HTTP/1.1 200")
        site.server.sweep(site.now + 60)  # an idle connection may wait
        writer.write(b"GET /heal")
        (connection,) = site.server._admitted
        await site.wait_until(lambda: connection._owes_since < inf)
        site.server.sweep(site.now + 11)
        assert (await everything(reader, writer)).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_trickles_in_is_not_waited_for(serve):
    async with serve() as site:
        head = post(b"/boot/identity", b"").replace(b"Length: 0", b"Length: 60000")
        slow = [await site.connect(head + b"{") for _ in range(60)]
        await site.wait_until(
            lambda: (
                sum(
                    c._body is not None and c._body._waiter is not None
                    for c in site.server._admitted
                )
                == 60
            )
        )
        site.server.sweep(site.now + 15)
        assert len(site.server._admitted) == 60
        site.server.sweep(site.now + 25)
        answers = [await everything(*each) for each in slow]
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
        await site.wait_until(lambda: not site.server._admitted)


async def test_a_long_body_at_a_sane_rate_may_take_longer(serve):
    async with serve() as site:
        head = post(b"/boot/identity", b"").replace(b"Length: 0", b"Length: 60000")
        _, writer = await site.connect(head + b" " * 50_000)
        await site.wait_until(lambda: sum(c._arrived > 50_000 for c in site.server._admitted) == 1)
        site.server.sweep(site.now + 25)
        assert len(site.server._admitted) == 1
        writer.close()


async def test_a_request_that_is_being_answered_is_not_overdue(serve, operator, make):
    """An event stream, whose client has sent all it had to send."""
    await make.server_class()
    operation = await make.operation(await make.server(1, State.INSPECTING))
    token = operator.session.headers["Authorization"].encode()
    async with serve() as site:
        path = f"/v1/operations/{operation.id}/events".encode()
        line = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + b"\r\n\r\n"
        reader, writer = await site.connect(line)
        await reader.readuntil(b"event: operation")
        site.server.sweep(site.now + 1000)
        assert len(site.server._admitted) == 1
        writer.close()


async def test_one_address_does_not_take_all_connections(serve):
    limits = ConnectionLimits(at_once=20, per_address=10)
    async with serve(limits) as site:
        held = [await site.connect() for _ in range(10)]
        answer = await site.send(b"")
        assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: ")
        assert b'"code":"too_many_connections"' in answer
        for _, writer in held:
            writer.close()
        await site.wait_until(lambda: not site.server._by_source)
        assert await site.is_healthy()


async def test_the_connections_of_all_are_limited_and_a_trusted_proxy_only_by_that(serve):
    limits = ConnectionLimits(at_once=20, per_address=10, proxies=(ip_network("127.0.0.0/8"),))
    async with serve(limits) as site:
        held = [await site.connect() for _ in range(20)]
        await site.wait_until(lambda: len(site.server._admitted) == 20)
        refused = [await site.connect() for _ in range(100)]
        answers = [await everything(*each) for each in refused]
        told = [answer for answer in answers if answer]
        assert 0 < len(told) < 100
        assert all(b"HTTP/1.1 503 " in each and b'"code":"overloaded"' in each for each in told)
        assert len(site.server._admitted) == 20
        for _, writer in held:
            writer.close()
        await site.wait_until(lambda: not site.server._admitted)
        assert await site.is_healthy()


async def test_a_refused_client_that_stays_is_sent_away(serve):
    async with serve(ConnectionLimits(per_address=1)) as site:
        _, held = await site.connect()
        reader, writer = await site.connect()
        assert (await reader.read()).startswith(b"HTTP/1.1 429 ")
        assert len(site.server._refused) == 1
        site.server.sweep(site.now + 5)
        await site.wait_until(lambda: not site.server._refused)
        writer.close()
        held.close()


async def test_a_site_of_ipv6_is_one_address():
    from provisioner.service.http.client_address import parse_address, source

    assert source(parse_address("2001:db8::1")) == source(parse_address("2001:db8::ffff:1%eth0"))
    assert source(parse_address("2001:db8::1")) != source(parse_address("2001:db8:0:1::1"))
    assert source(parse_address("::ffff:10.0.0.1")) == source(parse_address("10.0.0.1"))


async def test_running_out_of_descriptors_is_one_line_and_ends_nothing(serve, monkeypatch, caplog):
    loop = asyncio.get_running_loop()
    lines = OncePerPeriod(clock=lambda: 0.0)
    caplog.handler.addFilter(lines)
    async with serve() as site:
        tries = 0
        (listening,) = serving._listening(site.runner)
        accept = type(loop)._accept_connection

        class Exhausted:
            """A listening socket of a process without a free descriptor."""

            def accept(self):
                nonlocal tries
                tries += 1
                raise OSError(errno.EMFILE, "Too many open files")

            def fileno(self):
                return listening.fileno()

        with caplog.at_level(logging.ERROR):
            for _ in range(5):
                accept(loop, lambda: None, Exhausted(), backlog=serving._ACCEPTS)
        assert 0 < tries <= 5 * serving._ACCEPTS
        assert sum("out of system resource" in line for line in caplog.messages) <= 1
        caplog.handler.removeFilter(lines)


def test_what_was_left_out_is_counted_in_the_next_line():
    now = 0.0
    lines = OncePerPeriod(period_s=60, clock=lambda: now)

    def passes(text, level=logging.ERROR):
        record = logging.LogRecord("a", level, "", 0, text, (), None)
        return record.getMessage() if lines.filter(record) else None

    assert [passes("no descriptor") for _ in range(1000)] == ["no descriptor", *[None] * 999]
    assert passes("another fault") == "another fault"
    assert [passes("news", logging.INFO) for _ in range(2)] == ["news", "news"]
    now = 61.0
    assert passes("no descriptor") == "no descriptor (999 more since the last such line)"
    assert passes("another fault") == "another fault"


async def test_event_streams_are_limited_by_account_and_others_are_served(
    anybody, as_role, operator, make
):
    await make.server_class()
    operation = await make.operation(await make.server(1, State.INSPECTING))
    path = f"/v1/operations/{operation.id}/events"
    limit = anybody.server.app[STREAMS].per_account
    opened = []
    for _ in range(limit):
        answer = await operator.get(path)
        assert answer.status == 200
        opened.append(answer)
    refused = [await operator.get(path) for _ in range(3)]
    assert [answer.status for answer in refused] == [429] * 3
    assert refused[0].headers["Retry-After"]
    assert (await refused[0].json())["code"] == "too_many_streams"
    other = await as_role(operator_role(), "Grace")
    assert (await other.get(path)).status == 200
    assert (await anybody.get("/healthz")).status == 200
    for answer in opened:
        answer.close()
    streams = anybody.server.app[STREAMS]
    for _ in range(1000):
        if streams._by_account.total() == 1:
            break
        await asyncio.sleep(0.01)
    assert (await operator.get(path)).status == 200


def operator_role():
    from provisioner.domain.access import Role

    return Role.OPERATOR


async def test_event_streams_are_limited_by_address(anybody, as_role, make):
    await make.server_class()
    operation = await make.operation(await make.server(1, State.INSPECTING))
    path = f"/v1/operations/{operation.id}/events"
    anybody.server.app[STREAMS].per_address = 5
    statuses = []
    for number in range(7):
        client = await as_role(operator_role(), f"operator-{number}")
        statuses.append((await client.get(path)).status)
    assert statuses == [200] * 5 + [429] * 2


async def test_many_streams_poll_as_often_together_as_a_few(anybody):
    streams = anybody.server.app[STREAMS]
    assert streams.pause(1.0) == 1.0
    for number in range(TRIES):
        streams._by_account[str(number)] += 1
    assert TRIES / streams.pause(1.0) == pytest.approx(50)


PROXY = ip_network("127.0.0.0/8")
INNER = ip_network("10.1.0.0/16")


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ((), "198.51.100.7", "127.0.0.1"),
        ((PROXY,), "198.51.100.7", "198.51.100.7"),
        ((PROXY,), "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ((PROXY, INNER), "203.0.113.9, 198.51.100.7, 10.1.0.4", "198.51.100.7"),
        ((PROXY, INNER), "10.1.0.3, 10.1.0.4", "10.1.0.3"),
        ((PROXY,), "198.51.100.7, garbage", "127.0.0.1"),
        ((PROXY,), "", "127.0.0.1"),
        ((PROXY,), "2001:db8::7", "2001:db8::7"),
    ],
)
async def test_only_what_trusted_proxies_wrote_is_the_clients_address(
    services, trusted, forwarded, address
):
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    from provisioner.service.context import SERVICES
    from provisioner.service.http.client_address import client_address

    async def tell(request):
        return web.Response(text=str(client_address(request)))

    app = web.Application()
    app[SERVICES] = replace(services, trusted_proxies=trusted)
    app.router.add_get("/", tell)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/", headers={"X-Forwarded-For": forwarded})
        assert await answer.text() == address


@pytest.mark.parametrize(
    ("trusted", "forwarded", "status"),
    [((), "198.51.100.7", 400), ((PROXY,), "198.51.100.7", 403), ((PROXY,), "127.0.0.9", 400)],
)
async def test_a_proxy_carries_no_stranger_into_the_machines_network(
    serve, trusted, forwarded, status
):
    async with serve(trusted_proxies=trusted, machine_networks=(PROXY,)) as site:
        url = f"http://{site.host}:{site.port}/boot/identity"
        async with aiohttp.ClientSession() as session:
            headers = {"X-Forwarded-For": forwarded}
            async with session.post(url, data=b"{}", headers=headers) as answer:
                assert answer.status == status
