"""Serving on an address and on sockets that the starter passed (sd_listen_fds(3))."""

import os
import socket

import aiohttp
import pytest

from provisioner.service.app import make_app
from provisioner.service.http import serving


@pytest.fixture
def passed(monkeypatch):
    """A listening socket at the descriptor where passed ones begin."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        descriptor = os.dup(listening.fileno())
    monkeypatch.setattr(serving, "_FIRST", descriptor)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_FDNAMES", "people")
    return address


async def test_it_serves_on_its_address_and_on_the_passed_socket(services, passed):
    runner = await serving.serve(make_app(services), "127.0.0.1", 0)
    try:
        addresses = list(runner.addresses)
        assert passed in addresses
        assert len(addresses) == 2
        async with aiohttp.ClientSession() as session:
            for host, port in addresses:
                async with session.get(f"http://{host}:{port}/healthz") as answer:
                    assert answer.status == 200
    finally:
        await runner.cleanup()
    assert not any(name.startswith("LISTEN_") for name in os.environ)


async def test_sockets_for_another_process_are_left_alone(passed, monkeypatch):
    monkeypatch.setenv("LISTEN_PID", "1")
    assert serving.passed_sockets() == []


@pytest.mark.parametrize("count", ["x", "1"])
async def test_sockets_that_are_not_there_are_told(monkeypatch, count):
    monkeypatch.setattr(serving, "_FIRST", 1_000_000)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    with pytest.raises(serving.BadListenFds, match="sd_listen_fds"):
        serving.passed_sockets()


async def test_an_address_in_use_is_an_error_and_leaves_nothing_open(services):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        await serving.serve(make_app(services), "127.0.0.1", taken.getsockname()[1])
