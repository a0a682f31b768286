"""rackctl webhook against the real service, its sender and a receiver on loopback."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web
from rackctl_service import Rackctl, Service

from provisioner.notifications.sender import WebhookSender


@asynccontextmanager
async def receiver(status: int) -> AsyncIterator[str]:
    async def hook(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await runner.cleanup()


@contextmanager
def sending(service: Service, status: int) -> Iterator[str]:
    """The address of a receiver with this status, while the service's sender runs."""
    run = service.background.run
    opened = receiver(status)
    url = run(opened.__aenter__())
    services = service.services
    sender = WebhookSender(
        services.database,
        services.secret_box,
        post=services.webhook_post,
        rules=services.webhook_rules,
    )
    running = services.driver.running(sender)
    run(running.__aenter__())
    yield url
    run(running.__aexit__(None, None, None))
    run(opened.__aexit__(None, None, None))


def test_a_webhook_is_set_tested_shown_and_deleted(rackctl: Rackctl, service: Service) -> None:
    with sending(service, 204) as url:
        made = rackctl("webhook", "set", url)
        assert made.code == 0, made.err
        assert made.out.startswith("whsec_")
        tested = rackctl("webhook", "test")
        assert tested.code == 0, tested.err
        assert "delivered" in tested.out
    shown = rackctl("webhook", "show")
    assert url in shown.out
    assert "webhook.test" in shown.out
    assert "whsec_" not in shown.out
    assert rackctl("webhook", "set", url).code == 2, "it would replace the secret unasked"
    assert rackctl("webhook", "delete").code == 2
    assert rackctl("webhook", "delete", "--yes").code == 0
    gone = rackctl("webhook", "show")
    assert gone.code == 1
    assert "rackctl webhook set" in gone.err


def test_a_test_that_does_not_arrive_fails_and_says_why(rackctl: Rackctl, service: Service) -> None:
    with sending(service, 500) as url:
        assert json.loads(rackctl("webhook", "set", url, "-o", "json").out)["url"] == url
        tested = rackctl("webhook", "test")
    assert tested.code == 1
    assert "the receiver answered 500" in tested.err


def test_an_address_of_the_inside_is_refused(rackctl: Rackctl) -> None:
    refused = rackctl("webhook", "set", "http://10.0.0.1/")
    assert refused.code == 1
    assert "not on the public Internet" in refused.err
