"""The metadata document, over real sockets on the loopback address."""

import json
import os
import socket
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from agent_grants import BEGAN, Site

from agent.lease import Lease
from agent.local_http import Request, serve
from agent.metadata import Metadata
from agent.post import PostError


@dataclass
class Provisioner:
    released: int = 0
    failing: bool = False

    def release(self) -> None:
        if self.failing:
            raise PostError("http://p/agents/release: down")
        self.released += 1


@dataclass
class Asker:
    port: int
    host: str = "127.0.0.1"
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/ironlease/v1/{path}",
            method=method,
            headers={
                "Host": self.host,
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def token(self) -> str:
        return self("PUT", "token")[1]


@pytest.fixture
def site() -> Site:
    return Site(not_after=BEGAN + 7200)


@pytest.fixture
def lease(site: Site, tmp_path: Path) -> Lease:
    lease = site.held(tmp_path / "lease.json")
    site.exchange(lease)
    return lease


@pytest.fixture
def provisioner() -> Provisioner:
    return Provisioner()


@pytest.fixture
def metadata(site: Site, lease: Lease, provisioner: Provisioner) -> Metadata:
    return Metadata(lease, provisioner.release, site.clock, host="127.0.0.1")


@pytest.fixture
def ask(metadata: Metadata) -> Asker:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    threading.Thread(target=serve, args=(listener, metadata.answer), daemon=True).start()
    return Asker(port)


def test_the_lease_and_its_end_are_told(site: Site, lease: Lease, ask: Asker) -> None:
    site.clock.turn(200)
    status, text = ask("GET", "lease")
    assert (status, json.loads(text)) == (
        200,
        {"lease": "lse_1", "ends_at": "2027-01-15T10:00:00Z", "remaining_s": 7000},
    )


def test_the_action_is_absent_until_the_end_was_told(site: Site, lease: Lease, ask: Asker) -> None:
    assert ask("GET", "lease-action")[0] == 404
    site.clock.turn(3600)
    lease.told(3600.0)
    status, text = ask("GET", "lease-action")
    assert (status, json.loads(text)) == (
        200,
        {"action": "terminate", "time": "2027-01-15T10:00:00Z", "remaining_s": 3600},
    )


def test_without_a_lease_there_is_neither(site: Site, provisioner: Provisioner) -> None:
    lease = Lease(Path("/nowhere"), "b", site.clock, site.verifier().verified, None)
    metadata = Metadata(lease, provisioner.release, site.clock, host="h")
    for path in ("lease", "lease-action"):
        request = Request("GET", f"/ironlease/v1/{path}", {"host": "h"}, ("127.0.0.1", 1))
        assert metadata.answer(request).status == 404


@pytest.mark.skipif(os.geteuid() != 0, reason="root gives the server back")
def test_root_gives_the_server_back_with_a_token(ask: Asker, provisioner: Provisioner) -> None:
    status, _ = ask("POST", "release", X_Ironlease_Token=ask.token())
    assert (status, provisioner.released) == (202, 1)


@pytest.mark.parametrize("token", ["", "guessed"])
def test_without_a_token_nothing_is_given_back(
    ask: Asker, provisioner: Provisioner, token: str
) -> None:
    ask.token()
    assert ask("POST", "release", X_Ironlease_Token=token)[0] == 401
    assert provisioner.released == 0


def test_a_token_lasts_for_minutes(site: Site, ask: Asker, provisioner: Provisioner) -> None:
    token = ask.token()
    site.clock.turn(301)
    assert ask("POST", "release", X_Ironlease_Token=token)[0] == 401
    assert provisioner.released == 0


def test_who_is_not_root_gives_nothing_back(
    metadata: Metadata, ask: Asker, provisioner: Provisioner, tmp_path: Path
) -> None:
    sockets = tmp_path / "tcp"
    sockets.write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        "   0: 0100007F:1F90 0100007F:0050 01 00000000:00000000 00:00000000 00000000  1000 0 1\n"
        "   1: 0100007F:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0 0 1\n"
    )
    ours = Metadata(metadata._lease, provisioner.release, metadata._now, host="h", sockets=sockets)
    token = ours.answer(Request("PUT", "/ironlease/v1/token", {"host": "h"}, ("", 0))).body
    headers = {"host": "h", "x-ironlease-token": token}

    def status(address: str, port: int) -> int:
        peer = (address, port)
        return ours.answer(Request("POST", "/ironlease/v1/release", headers, peer)).status

    # A user's, one of another network namespace, and root's.
    assert [status("127.0.0.1", port) for port in (8080, 9999, 8081)] == [403, 403, 202]
    assert provisioner.released == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="root gives the server back")
def test_a_provisioner_that_does_not_answer_is_told(ask: Asker, provisioner: Provisioner) -> None:
    provisioner.failing = True
    status, text = ask("POST", "release", X_Ironlease_Token=ask.token())
    assert status == 502
    assert "down" in text


def test_what_a_proxy_passes_on_is_refused(ask: Asker) -> None:
    for method, path in (("GET", "lease"), ("PUT", "token")):
        assert ask(method, path, X_Forwarded_For="10.1.1.1")[0] == 403


def test_a_foreign_name_that_leads_here_is_refused(ask: Asker) -> None:
    ask.host = "evil.example"
    assert ask("GET", "lease")[0] == 403


def test_other_paths_and_methods_are_refused(ask: Asker) -> None:
    assert ask("GET", "")[0] == 404
    assert ask("GET", "token")[0] == 405
    assert ask("GET", "release")[0] == 405


def test_what_is_no_http_is_not_answered(ask: Asker) -> None:
    for said in (b"hello\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2000):
        with socket.create_connection(("127.0.0.1", ask.port), 30) as connection:
            try:
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(100) == b""
            except ConnectionResetError:
                continue
    assert ask("GET", "lease")[0] == 200
