"""The rules that close a machine at the end of its lease, in the kernel, between two namespaces."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent import firewall

pytestmark = pytest.mark.root

MACHINE, OTHERS = "ilg1-machine", "ilg1-others"
ADDRESSES = {MACHINE: ["10.9.0.2/24"], OTHERS: ["10.9.0.1/24", "10.9.0.3/24"]}
PROVISIONER = "http://10.9.0.1:8080"

LISTEN = """
import socket
listeners = [socket.create_server(("", port)) for port in {ports}]
print("listening", flush=True)
input()
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection(("{host}", {port}), 0.7).close()
except OSError:
    sys.exit(1)
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture
def machine() -> Iterator[None]:
    """A machine and others on one wire, each with listening services."""
    for name in (MACHINE, OTHERS):
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
    try:
        ip("link", "add", "eth0", "netns", MACHINE, "type", "veth", "peer", "eth0", "netns", OTHERS)
        for name, addresses in ADDRESSES.items():
            for address in addresses:
                ip("-n", name, "address", "add", address, "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        with listening(MACHINE, 22, 8080), listening(OTHERS, 22, 8080):
            yield
    finally:
        for name in (MACHINE, OTHERS):
            ip("netns", "del", name)


def inside(name: str, program: str) -> list[str]:
    return ["ip", "netns", "exec", name, sys.executable, "-c", program]


@contextmanager
def listening(name: str, *ports: int) -> Iterator[None]:
    """Run a namespace's services until the block ends."""
    with subprocess.Popen(
        inside(name, LISTEN.format(ports=ports)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        yield
        process.communicate(b"\n")


def reached(name: str, host: str, port: int) -> bool:
    command = inside(name, CONNECT.format(host=host, port=port))
    return subprocess.run(command, check=False).returncode == 0


def load(rules: str) -> None:
    command = ["ip", "netns", "exec", MACHINE, "nft", "-f", "-"]
    subprocess.run(command, input=rules, text=True, check=True)


def view() -> dict[str, bool]:
    return {
        "in": reached(OTHERS, "10.9.0.2", 22),
        "in from the provisioner": reached(OTHERS, "10.9.0.2", 8080),
        "out to the provisioner": reached(MACHINE, "10.9.0.1", 8080),
        "out to its other ports": reached(MACHINE, "10.9.0.1", 22),
        "out to others": reached(MACHINE, "10.9.0.3", 8080),
        "within": reached(MACHINE, "127.0.0.1", 22),
        "within, by its own address": reached(MACHINE, "10.9.0.2", 22),
    }


@pytest.mark.usefixtures("machine")
def test_a_closed_machine_reaches_the_provisioner_and_itself_alone_until_it_is_opened() -> None:
    everything = view()
    assert all(everything.values())
    for _ in range(2):  # a second time replaces the first
        load(firewall.closed(PROVISIONER))
    assert view() == {
        "in": False,
        "in from the provisioner": False,
        "out to the provisioner": True,
        "out to its other ports": False,
        "out to others": False,
        "within": True,
        "within, by its own address": True,
    }
    for _ in range(2):  # also when nothing is closed
        load(firewall.OPEN)
    assert view() == everything


@pytest.mark.parametrize(
    ("url", "peers"),
    [
        ("http://10.77.0.1:8080", [("ip", "10.77.0.1", 8080)]),
        ("http://[fd77::1]:8080/base", [("ip6", "fd77::1", 8080)]),
        ("https://10.77.0.1", [("ip", "10.77.0.1", 443)]),
    ],
)
def test_the_provisioner_is_found_by_its_address(
    url: str, peers: list[tuple[str, str, int]]
) -> None:
    assert firewall.provisioner(url) == peers
