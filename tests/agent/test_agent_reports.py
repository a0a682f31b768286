"""The agent's reports and its client, over real sockets and against a simulated provisioner."""

import copy
import http.server
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_grants import Site

from agent.access import session_processes
from agent.build import write_zipapp
from agent.lease import Lease
from agent.post import Connection, PostError, StatusError, post
from agent.protocol import AgentConfig, Report, ReportAnswer
from agent.reporter import HEALTH_EVERY_S, Reporter

Answer = tuple[int, bytes]


class Provisioner(http.server.ThreadingHTTPServer):
    """Answers every request with `answer`, and records the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Answer = (200, b"{}")
        self.promised: int | None = None
        self.requests: list[tuple[str, str | None, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Provisioner

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers["Authorization"], body))
        status, answer = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(self.server.promised or len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def provisioner() -> Iterator[Provisioner]:
    with Provisioner() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_post_carries_body_and_token_and_returns_the_answer(provisioner: Provisioner) -> None:
    provisioner.answer = (200, b'{"a": 1}')
    assert post(f"{provisioner.url}/agents/report", '{"b": 2}', token="t") == b'{"a": 1}'
    assert provisioner.requests == [("/agents/report", "Bearer t", b'{"b": 2}')]


def test_a_refusal_carries_status_and_problem(provisioner: Provisioner) -> None:
    provisioner.answer = (403, b'{"detail": "used"}')
    with pytest.raises(StatusError) as refused:
        post(provisioner.url, "{}")
    assert (refused.value.status, refused.value.body) == (403, b'{"detail": "used"}')


def test_an_answer_that_breaks_off_is_no_answer(provisioner: Provisioner) -> None:
    provisioner.answer, provisioner.promised = (200, b'{"a"'), 100
    with pytest.raises(PostError, match="broke off"):
        post(provisioner.url, "{}")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://[::1]:1/x", "http://127.0.0.1:no"])
def test_an_unreachable_provisioner_is_reported_with_its_address(url: str) -> None:
    with pytest.raises(PostError) as failed:
        post(url, "{}")
    assert url in str(failed.value)


class Keeping(http.server.ThreadingHTTPServer):
    """Keeps connections as HTTP/1.0 servers do, each for `answers` answers."""

    def __init__(self, answers: int) -> None:
        super().__init__(("127.0.0.1", 0), _KeepingHandler)
        self.answers = answers
        self.connections: list[list[str]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _KeepingHandler(http.server.BaseHTTPRequestHandler):
    server: Keeping

    def setup(self) -> None:
        super().setup()
        self.server.connections.append([])

    def do_GET(self) -> None:
        asked = self.server.connections[-1]
        asked.append(self.path)
        self.send_response(204 if self.path == "/nothing" else 200)
        self.send_header("Connection", "keep-alive")
        if self.path != "/nothing":
            self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        if self.path != "/nothing":
            self.wfile.write(self.path.encode())
        self.close_connection = len(asked) == self.server.answers

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def keeping(request: pytest.FixtureRequest) -> Iterator[Keeping]:
    with Keeping(request.param) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("keeping", [9], indirect=True)
def test_a_connection_is_used_again(keeping: Keeping) -> None:
    connection = Connection()
    paths = ["/a", "/nothing", "/bc"]
    assert [connection.get(keeping.url(path)) for path in paths] == [b"/a", b"", b"/bc"]
    assert keeping.connections == [paths]
    connection.close()


@pytest.mark.parametrize("keeping", [2], indirect=True)
def test_a_connection_that_the_provisioner_ended_is_made_anew(keeping: Keeping) -> None:
    connection = Connection()
    for path in ("/a", "/b", "/c", "/d", "/e"):
        assert connection.get(keeping.url(path)) == path.encode()
    assert keeping.connections == [["/a", "/b"], ["/c", "/d"], ["/e"]]
    connection.close()


class Link:
    """A simulated connection: records what is sent, and fails or answers with the site's grant."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sent: list[tuple[str, Report]] = []
        self.failures: list[bytes | Exception] = []

    def __call__(self, url: str, body: str, *, token: str) -> bytes:
        report = Report.from_json(body)
        self.sent.append((token, report))
        if not self.failures:
            return ReportAnswer(10.0, self.site.grant(report.echo)).to_json().encode()
        failure = self.failures.pop(0)
        if isinstance(failure, Exception):
            raise failure
        return failure


@pytest.fixture
def link() -> Link:
    return Link(Site())


@pytest.fixture
def lease(link: Link, tmp_path: Path) -> Lease:
    """With 60 s left."""
    link.site.clock.now = 0.0
    return link.site.held(tmp_path / "lease.json")


@pytest.fixture
def tokens() -> list[str]:
    return ["first", "second"]


@pytest.fixture
def health() -> dict[str, Any]:
    """The health as the watch has it now."""
    return {"state": "ok", "gpus": [{"index": 0, "temperature_c": 40}], "events": []}


@pytest.fixture
def reporter(link: Link, lease: Lease, tokens: list[str], health: dict[str, Any]) -> Reporter:
    def read_config() -> AgentConfig:
        return AgentConfig("http://p", "srv_1", tokens.pop(0), "tenant", 10.0, None)

    return Reporter(
        read_config,
        lease,
        lambda: False,
        link,
        boot_id="boot",
        now=link.site.clock,
        hostname=lambda: "r1-u01",
        health=lambda: copy.deepcopy(health),
    )


def test_reports_count_up_and_the_answer_moves_the_lease(
    reporter: Reporter, link: Link, lease: Lease
) -> None:
    link.site.end_in(50)
    assert 9 <= reporter.report() <= 11
    reporter.report()
    assert [report.sequence for _, report in link.sent] == [1, 2]
    assert link.sent[0][1].lease is not None
    assert link.sent[0][1].lease.remaining_s == 60
    assert lease.remaining_s == 50


def test_every_report_has_a_nonce_of_its_own(reporter: Reporter, link: Link) -> None:
    reporter.report()
    reporter.report()
    first, second = (report.echo for _, report in link.sent)
    assert len(first) == len(second) == 32
    assert first != second


def test_long_before_the_end_only_reports_that_tell_the_health_ask_for_the_grant(
    reporter: Reporter, link: Link
) -> None:
    link.site.end_in(1000)
    reporter.report()
    for _ in range(2):
        link.site.clock.turn(HEALTH_EVERY_S / 2)
        reporter.report()
    assert [(bool(r.health), bool(r.echo)) for _, r in link.sent] == [
        (True, True),
        (False, False),
        (True, True),
    ]


def test_failed_reports_are_repeated_ever_more_slowly_and_for_ever(
    reporter: Reporter, link: Link, lease: Lease
) -> None:
    link.failures = [PostError("down")] * 30
    waits = [reporter.report() for _ in range(30)]
    assert waits[0] <= 1.1
    assert waits[3] > waits[0]
    assert all(54 <= wait <= 66 for wait in waits[10:])
    assert lease.remaining_s == 60  # only the clock ends it
    assert 9 <= reporter.report() <= 11


def test_an_answer_that_is_not_understood_is_a_failed_report(
    reporter: Reporter, link: Link, lease: Lease
) -> None:
    link.failures = [b"<html>"]
    assert reporter.report() <= 1.1
    assert lease.remaining_s == 60


def test_a_revoked_identity_is_read_anew(reporter: Reporter, link: Link) -> None:
    link.failures = [StatusError("http://p", 401, b"")]
    assert reporter.report() >= 54
    reporter.report()
    assert [token for token, _ in link.sent] == ["first", "second"]


def told(link: Link) -> list[bool]:
    return [report.health is not None for _, report in link.sent]


def test_health_is_told_at_first_and_then_once_a_minute(reporter: Reporter, link: Link) -> None:
    for _ in range(8):
        reporter.report()
        link.site.clock.now += HEALTH_EVERY_S / 6
    assert told(link) == [True, False, False, False, False, False, True, False]


@pytest.mark.parametrize(
    "change",
    [
        {"state": "hung"},
        {"hardware_hung": True},
        {"events": [{"id": "n1", "pci": "00", "xid": 79, "at_s": 1.0}]},
        {"gpus": [{"index": 0, "lost": True}]},
        {"gpus": [{"index": 0, "recovery_action": 2}]},
    ],
)
def test_health_that_alarms_is_told_at_once_and_once(
    reporter: Reporter, link: Link, health: dict[str, Any], change: dict[str, Any]
) -> None:
    reporter.report()
    health["gpus"] = [{"index": 0, "temperature_c": 80}]
    reporter.report()
    health.update(change)
    reporter.report()
    reporter.report()
    assert told(link) == [True, False, True, False]


def test_health_that_did_not_get_through_is_told_again(reporter: Reporter, link: Link) -> None:
    link.failures = [PostError("down")]
    for _ in range(3):
        reporter.report()
    assert told(link)[-3:] == [True, True, False]


def test_a_new_identity_is_told_the_health(reporter: Reporter, link: Link) -> None:
    reporter.report()
    link.failures = [StatusError("http://p", 401, b"")]
    reporter.report()
    reporter.report()
    assert told(link)[-1]


def test_sessions_are_what_descends_from_sshd_or_login() -> None:
    table = {
        1: (0, "systemd"),
        10: (1, "sshd"),
        11: (10, "sshd"),
        12: (11, "bash"),
        13: (12, "vim (draft)"),
        20: (1, "login"),
        21: (20, "bash"),
        30: (1, "python3"),
        31: (30, "nginx"),
    }
    assert session_processes(table) == [10, 11, 12, 13, 20, 21]


def test_the_zipapp_is_reproducible_and_complete(tmp_path: Path) -> None:
    first, second = tmp_path / "1.pyz", tmp_path / "2.pyz"
    write_zipapp(first)
    write_zipapp(second)
    assert first.read_bytes() == second.read_bytes()
    names = zipfile.ZipFile(first).namelist()
    assert {"__main__.py", "agent/__main__.py", "agent/protocol.py"} <= set(names)
    assert json.dumps(names).count("build") == 0
