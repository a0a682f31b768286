"""The server behind the metadata address and the metrics: for this machine alone, and for all of
its programs at once."""

import contextlib
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from agent.local_http import LIMIT, Answer, Request, serve

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


@contextmanager
def served(
    answer: Callable[[Request], Answer] = lambda _: Answer(200, "here"), limit_s: float = 30.0
) -> Iterator[int]:
    """Serve until the block ends, and return the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2 * LIMIT)
    port = int(listener.getsockname()[1])
    thread = threading.Thread(target=serve, args=(listener, answer, limit_s), daemon=True)
    thread.start()
    yield port
    assert thread.is_alive()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 30)


def asked(port: int) -> bytes:
    with connect(port) as connection:
        connection.sendall(GET)
        return read(connection)


def read(connection: socket.socket) -> bytes:
    """Return everything until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while block := connection.recv(4096):
            received += block
    return received


def test_silent_clients_keep_nobody_waiting() -> None:
    with served() as port, connect(port), connect(port) as slow:
        slow.sendall(GET[:10])
        assert asked(port).endswith(b"here")
        slow.sendall(GET[10:])
        assert read(slow).endswith(b"here")


def test_when_all_places_are_taken_the_longest_silent_one_is_given_up() -> None:
    with served() as port, ExitStack() as clients:
        silent = [clients.enter_context(connect(port)) for _ in range(LIMIT)]
        assert asked(port).endswith(b"here")
        assert read(silent[0]) == b""
        silent[-1].sendall(GET)
        assert read(silent[-1]).endswith(b"here")


def test_a_request_being_answered_is_not_given_up() -> None:
    began, finish = threading.Event(), threading.Event()

    def answer(request: Request) -> Answer:
        if request.path == "/slow":
            began.set()
            finish.wait()
        return Answer(200, request.path)

    with served(answer) as port, ExitStack() as clients, connect(port) as slow:
        slow.sendall(GET.replace(b"/", b"/slow", 1))
        began.wait()
        for _ in range(2 * LIMIT):
            clients.enter_context(connect(port))
        assert asked(port).endswith(b"/")
        finish.set()
        assert read(slow).endswith(b"/slow")


def test_a_client_that_drips_its_request_is_cut_off_in_the_end() -> None:
    with served(limit_s=0.2) as port, connect(port) as slow:
        slow.sendall(GET[:10])
        drips = 0
        while not select.select([slow], [], [], 0.02)[0]:  # each is sooner than the limit
            slow.sendall(b"x")
            drips += 1
            assert drips < 1000
        assert read(slow) == b""


def test_a_defect_in_an_answer_is_told_and_the_next_is_given() -> None:
    def answer(request: Request) -> Answer:
        if request.path == "/":
            raise RuntimeError("a defect")
        return Answer(200, "here")

    with served(answer) as port:
        assert asked(port).startswith(b"HTTP/1.0 500 ")
        with connect(port) as connection:
            connection.sendall(GET.replace(b"/", b"/other", 1))
            assert read(connection).endswith(b"here")


MACHINE, NEIGHBOUR = "ilm1-machine", "ilm1-neighbour"
SERVE = """
from agent import local_http, metadata
if "{address}" == metadata.ADDRESS:
    listener = metadata.listen()
else:
    listener = local_http.listen("{address}", {port})
print("listening", flush=True)
local_http.serve(listener, lambda request: local_http.Answer(200, "here"))
"""
ASK = """
import urllib.request
print(urllib.request.urlopen("http://{address}:{port}/", timeout=1).read().decode())
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def inside(namespace: str, program: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, sys.executable, "-c", program]


@pytest.fixture
def neighbours() -> Iterator[None]:
    """Two machines on one wire; the neighbour sends what is for the other's own addresses to it."""
    for name in (MACHINE, NEIGHBOUR):
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
    try:
        wire = ["eth0", "netns", MACHINE, "type", "veth", "peer", "eth0", "netns", NEIGHBOUR]
        ip("link", "add", *wire)
        for name, address in ((MACHINE, "10.9.1.2/24"), (NEIGHBOUR, "10.9.1.1/24")):
            ip("-n", name, "address", "add", address, "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            # As kube-proxy does: 127.0.0.0/8 is then reached over the wire too.
            route = "net.ipv4.conf.all.route_localnet=1"
            subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", route], check=True)
        ip("-n", NEIGHBOUR, "route", "add", "169.254.169.254", "via", "10.9.1.2")
        ip("-n", NEIGHBOUR, "address", "del", "127.0.0.1/8", "dev", "lo")
        ip("-n", NEIGHBOUR, "route", "add", "127.0.0.1", "via", "10.9.1.2", "src", "10.9.1.1")
        yield
    finally:
        for name in (MACHINE, NEIGHBOUR):
            ip("netns", "del", name)


@pytest.mark.root
@pytest.mark.usefixtures("neighbours")
@pytest.mark.parametrize(("address", "port"), [("169.254.169.254", 80), ("127.0.0.1", 9401)])
def test_a_neighbour_is_not_answered_whatever_its_routes(address: str, port: int) -> None:
    ask = ASK.format(address=address, port=port)
    with subprocess.Popen(
        inside(MACHINE, SERVE.format(address=address, port=port)),
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        own = subprocess.run(inside(MACHINE, ask), check=False, capture_output=True, text=True)
        other = subprocess.run(inside(NEIGHBOUR, ask), check=False, capture_output=True, text=True)
        server.kill()
    assert own.stdout == "here\n"
    assert "Connection refused" in other.stderr
