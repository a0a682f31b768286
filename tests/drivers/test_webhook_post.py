"""Posting to customers' addresses, against real servers on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest
from aiohttp import web
from yarl import URL

from provisioner.drivers.webhooks import NotDelivered
from provisioner.drivers.webhooks import post as webhook_post
from provisioner.drivers.webhooks.post import WebhookPost

LOOPBACK = [ip_address("127.0.0.1")]


@asynccontextmanager
async def receiver(answer: web.Response | None = None) -> AsyncIterator[tuple[URL, list[str]]]:
    """A server that gives this answer, or none; and the paths requested from it."""
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(f"{request.path} {await request.text()}")
        if answer is None:
            await asyncio.Event().wait()
        assert answer is not None
        return answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield URL(f"http://127.0.0.1:{runner.addresses[0][1]}/hook"), seen
    await runner.cleanup()


@pytest.fixture
def post() -> WebhookPost:
    return WebhookPost()


async def test_a_message_is_posted_and_its_status_answered(post: WebhookPost) -> None:
    async with receiver(web.Response(status=202)) as (url, seen):
        assert await post.post(url, LOOPBACK, {"webhook-id": "msg_1"}, b"{}") == 202
    assert seen == ["/hook {}"]


async def test_a_redirect_is_not_followed(post: WebhookPost) -> None:
    async with receiver(web.Response(status=302, headers={"Location": "/else"})) as (url, seen):
        assert await post.post(url, LOOPBACK, {}, b"") == 302
    assert len(seen) == 1


async def test_the_connection_goes_to_what_was_checked_whatever_the_name_means(
    post: WebhookPost,
) -> None:
    async with receiver(web.Response()) as (url, seen):
        named = url.with_host("receiver.invalid")
        assert await post.post(named, LOOPBACK, {}, b"") == 200
    assert len(seen) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_address_that_was_not_checked_is_never_connected_to(
    post: WebhookPost, host: str
) -> None:
    async with receiver(web.Response()) as (url, seen):
        with pytest.raises(NotDelivered):
            await post.post(url.with_host(host), [ip_address("127.0.0.99")], {}, b"")
    assert seen == []


async def test_a_receiver_that_never_answers_is_left() -> None:
    async with receiver() as (url, _):
        with pytest.raises(NotDelivered, match="no answer"):
            await WebhookPost(limit_s=0.1).post(url, LOOPBACK, {}, b"")


async def test_a_receiver_that_sends_without_end_is_not_read(post: WebhookPost) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await post.post(URL(f"http://127.0.0.1:{port}/"), LOOPBACK, {}, b"") == 200
    server.close()
    assert sent < 100_000_000


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 99999]
)
async def test_what_is_no_http_is_no_delivery(post: WebhookPost, answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(NotDelivered, match="no HTTP"):
        await post.post(URL(f"http://127.0.0.1:{port}/"), LOOPBACK, {}, b"")
    server.close()


async def test_https_needs_a_certificate(post: WebhookPost) -> None:
    async with receiver(web.Response()) as (url, _):
        with pytest.raises(NotDelivered, match="TLS"):
            await post.post(url.with_scheme("https"), LOOPBACK, {}, b"")


async def test_names_are_looked_up_whole(
    post: WebhookPost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", ("8.8.8.8", port)), (10, 1, 6, "", ("fe80::1", port, 0, 2))]

    monkeypatch.setattr(webhook_post.socket, "getaddrinfo", getaddrinfo)
    found = await post.look_up(URL("https://two.example/"))
    assert found == [ip_address("8.8.8.8"), ip_address("fe80::1")]


@pytest.mark.parametrize("host", ["no-such-name.invalid", "x" * 70 + ".example", "a..b"])
async def test_a_name_that_is_none_has_no_address(post: WebhookPost, host: str) -> None:
    assert await post.look_up(URL.build(scheme="https", host=host, path="/")) == []


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.1", "0"])
async def test_an_address_in_disguise_is_seen_for_what_it_is(post: WebhookPost, host: str) -> None:
    addresses = await post.look_up(URL(f"https://{host}/"))
    assert all(address.is_loopback or address.is_unspecified for address in addresses)
