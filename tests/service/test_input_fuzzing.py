"""Generated reports, inventories, facts, BMC answers, requests and forms at the application on
PostgreSQL. After some of each: is it alive, and is everybody else served?"""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, timedelta
from itertools import product
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from service_factories import Factory, FakeBmc, document
from yarl import URL

from provisioner.domain.access import Role
from provisioner.domain.hardware import require_facts
from provisioner.domain.health.bmc_states import MEANINGS, TYPES, BmcState
from provisioner.domain.health.sensors import SensorHealth
from provisioner.domain.lifecycle import State
from provisioner.domain.storable import Unstorable, check
from provisioner.drivers.bmc import BmcTarget, LogEntry, LogPart, LogPosition, Sensor
from provisioner.health.judge import Judge
from provisioner.health.sensors import SensorPoll
from provisioner.service.agents.ingest import INGEST, Ingest
from provisioner.service.api.endpoints import ENDPOINTS
from provisioner.service.http.endpoint import Endpoint
from provisioner.store.tables import BmcReading, Disk, Server, ServerHealth

fuzzed = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # each example takes half a second
    suppress_health_check=list(HealthCheck),
)
SOME = 8
"""Hostile inputs in one example."""

ODD_TEXTS = st.sampled_from(
    ["", "\0", "\ud800", "x" * 5000, "%00", "../..", "' OR 1=1 --", "\u202e", "🦆", "NaN", "-1"]
)
ODD_NUMBERS = st.sampled_from(
    [0, -1, 1 << 31, 1 << 53, 1 << 63, 10**400, 0.5, 1e17, 1e308, float("nan"), float("-inf")]
)
TEXTS = ODD_TEXTS | st.text(st.characters(exclude_categories=()), max_size=20)
ODD = st.recursive(
    st.none() | st.booleans() | ODD_NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a document."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [p for key in keys for p in places(value[key])]


@st.composite
def mutants(draw: Any, base: Any) -> Any:
    """The document with one to three odd values in it, or something else altogether."""
    mutant = deepcopy(base)
    for _ in range(draw(st.integers(1, 3))):
        found = places(mutant)
        if not found:
            return draw(ODD)
        container, key = found[draw(st.integers(0, len(found) - 1))]
        container[key] = draw(ODD)
    return mutant


REPORT = {
    "server": "",
    "context": "tenant",
    "boot_id": "b-1",
    "sequence": 1,
    "uptime_s": 12.5,
    "agent_version": "0.1.0",
    "hostname": "box",
    "lease": {"id": "l", "remaining_s": 1.0, "locked": False},
    "echo": "nonce",
    "health": {
        "state": "ok",
        "driver": "570",
        "gpus": [{"index": 0, "uuid": "GPU-0", "pci": "0000:1b:00.0", "remap_failure": True}],
        "disks": [{"name": "nvme0", "state": "dead", "critical_warning": 255}],
        "links": [{"name": "eth0", "up": True, "down_count": 0}],
        "events": [{"id": "e", "pci": "0000:1b:00.0", "xid": 79, "at_s": 1.0, "text": "t"}],
    },
}
"""So ill that most of its texts get into findings."""
DEAD_DISK = {"state": "absent", "disks": [{"name": "d", "state": "dead", "critical_warning": 4}]}
JSON = {"Content-Type": "application/json"}
DISK = {
    "serial": "D1",
    "model": "M",
    "firmware": "1",
    "transport": "nvme",
    "size_bytes": 1 << 40,
    "capabilities": {"discard": True},
}
FACTS = {"serial": "S", "cpus": 8, "memory_mib": 16000, "gpus": [{"index": 0}], "disks": [DISK]}
STATES = st.sampled_from(sorted(MEANINGS)) | st.builds(
    BmcState, *3 * [st.integers(min_value=0, max_value=255)]
)
SENSORS = st.lists(
    st.builds(
        Sensor,
        name=TEXTS,
        kind=st.sampled_from(["Fan", "Power Supply", "Temperature", *TYPES]) | TEXTS,
        value=st.none() | st.floats(),
        unit=TEXTS,
        health=st.sampled_from(SensorHealth),
        states=st.lists(TEXTS, max_size=2).map(tuple),
        conditions=st.lists(STATES, max_size=2).map(tuple),
    ),
    max_size=4,
)
LOG = st.lists(
    st.builds(
        LogEntry,
        at=st.none() | st.datetimes(timezones=st.just(UTC)),
        source=TEXTS,
        text=TEXTS,
        severity=TEXTS,
        state=st.none() | STATES,
        asserted=st.booleans(),
    ),
    max_size=4,
)


class OddBmc(FakeBmc):
    """The first server's sensors are what a test says."""

    odd: Sequence[Sensor] = ()
    log: Sequence[LogEntry] = ()

    async def sensors(self, target: BmcTarget) -> Sequence[Sensor]:
        told = await super().sensors(target)
        return self.odd if target.address == "10.78.0.11" else told

    async def new_log_entries(self, target: BmcTarget, after: LogPosition | None) -> LogPart:
        entries = self.log if target.address == "10.78.0.11" else ()
        return LogPart(entries, LogPosition(1, 0), follows=after is not None)


@dataclass
class Site:
    """A hostile tenant on the first server, an honest one on the second."""

    make: Factory
    client: TestClient
    ingest: Ingest
    judge: Judge
    poll: SensorPoll
    bmc: OddBmc
    servers: list[Server]
    tokens: dict[str, str]
    reservations: dict[str, str]
    reports: int = 0

    def headers(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[who]}"}

    async def send(self, method: str, path: str | URL, who: str, **how: Any) -> int:
        headers = {**self.headers(who), **how.pop("headers", {})}
        async with self.client.request(
            method, path, headers=headers, allow_redirects=False, **how
        ) as answer:
            assert answer.status < 500, (answer.status, await answer.text())
            return answer.status

    async def report(self, agent: str, said: Any) -> int:
        return await self.send("POST", "/agents/report", agent, data=json.dumps(said))

    async def require_service(self) -> None:
        """The honest agent is heard, its server judged anew; its customer reads and extends."""
        self.reports += 1
        boot_id = f"honest-{self.reports}"
        said = {**REPORT, "server": self.servers[1].id, "boot_id": boot_id, "health": DEAD_DISK}
        assert await self.report("honest agent", said) == 200
        self.make.services.clock.turn(seconds=1)  # type: ignore[attr-defined]
        await self.ingest.flush()
        await self.judge.turn(self.judge.clock())
        assert self.judge.status.failures == self.ingest.status.failures == 0
        async with self.make.services.database.read() as session:
            verdict = await session.get_one(ServerHealth, self.servers[1].id)
        assert verdict.verdict["boot_id"] == boot_id
        path = f"/v1/reservations/{self.reservations['honest customer']}"
        assert await self.send("GET", path, "honest customer") == 200
        assert await self.send("GET", "/v1/servers", "operator") == 200
        assert await self.send("GET", "/v1/gpus", "operator") == 200
        assert await self.send("GET", "/metrics/gpus", "operator") == 200


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
def bmc(services: Any) -> OddBmc:
    odd = OddBmc()
    object.__setattr__(services, "bmc", odd)
    return odd


@pytest.fixture
async def site(bmc: OddBmc, make: Factory, anybody: TestClient) -> Site:
    await make.server_class()
    await make.image()
    servers = [await make.server(number, State.LEASED) for number in (1, 2)]
    tokens, reservations = {}, {}
    for server, who in zip(servers, ("hostile", "honest"), strict=True):
        account, tokens[f"{who} customer"] = await make.account(who)
        lease = await make.lease(server, account, lasts=timedelta(days=300))
        reservations[f"{who} customer"] = lease.reservation_id
        _, tokens[f"{who} agent"] = await make.agent(server, lease=lease)
    _, tokens["operator"] = await make.account("Op", Role.OPERATOR)
    services = make.services
    return Site(
        make,
        anybody,
        anybody.server.app[INGEST],  # type: ignore[union-attr]
        Judge(services.database, clock=services.clock),
        SensorPoll(services.database, bmc, services.secret_box, clock=services.clock),
        bmc,
        servers,
        tokens,
        reservations,
    )


@fuzzed
@given(st.lists(mutants(REPORT), min_size=SOME, max_size=SOME))
@example([{**REPORT, "boot_id": "b\0"}])
@example([{**REPORT, "health": {"disks": [{"name": "nvme0\0", "critical_warning": 255}]}}])
@example([{**REPORT, "uptime_s": 10**400}])
async def test_reports(site: Site, reports: list[Any]) -> None:
    for report in reports:
        is_own = isinstance(report, dict) and report.get("server") == ""
        said = {**report, "server": site.servers[0].id} if is_own else report
        assert await site.report("hostile agent", said) in (200, 400, 403)
    await site.require_service()


def expecting(expect: Any) -> dict[str, Any]:
    """An inventory that expects this of the honest tenant's server."""
    rack = document(2)
    rack["servers"][0]["expect"] = expect
    return rack


@fuzzed
@given(st.lists(mutants(document(3, 4)), min_size=SOME, max_size=SOME))
@example([expecting({"gpus": "eight"})])
async def test_inventories(site: Site, documents: list[Any]) -> None:
    for rack in documents:
        body = json.dumps({"documents": [rack]})
        status = await site.send("POST", "/v1/enrolments", "operator", data=body, headers=JSON)
        assert status in (201, 400, 409, 422)
    await site.require_service()


@fuzzed
@given(st.lists(mutants(FACTS), min_size=SOME, max_size=SOME))
async def test_facts_that_pass_can_be_recorded(site: Site, found: list[Any]) -> None:
    async with site.make.services.database.write() as session:
        server = await session.get_one(Server, site.servers[0].id)
        for facts in found:
            try:
                check(facts)
                require_facts(facts)
            except (Unstorable, ValueError):
                continue
            server.facts = facts
            disks = [Disk(server_id=server.id, **{k: d[k] for k in DISK}) for d in facts["disks"]]
            session.add_all(disks)
            await session.flush()
            for disk in disks:
                await session.delete(disk)
            await session.flush()


@fuzzed
@given(sensors=SENSORS, log=LOG)
async def test_answers_of_a_bmc(site: Site, sensors: list[Sensor], log: list[LogEntry]) -> None:
    site.bmc.odd, site.bmc.log = sensors, log
    site.make.services.clock.turn(minutes=6)  # type: ignore[attr-defined]
    await site.poll.settle()
    assert site.poll.status.failures == 0
    async with site.make.services.database.read() as session:
        for server in site.servers:
            reading = await session.get_one(BmcReading, server.id)
            assert reading.read_at == site.make.services.clock()
    path = f"/v1/servers/{site.servers[0].name}/sensors"
    assert await site.send("GET", path, "operator") == 200
    await site.require_service()


def example_of(endpoint: Endpoint) -> Any:
    if endpoint.body is None:
        return None
    extra = endpoint.body.model_config["json_schema_extra"]
    return deepcopy(extra["examples"][0])  # type: ignore[index,call-overload]


HOSTILE = "the hostile customer's reservation"
PRINTABLE = st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"])
FINITE = [endpoint for endpoint in ENDPOINTS if endpoint.answer_model or endpoint.body]


@st.composite
def requests(draw: Any) -> tuple[Endpoint, dict[str, str], Any, dict[str, str], dict[str, str]]:
    endpoint = draw(st.sampled_from(FINITE))
    known = st.sampled_from(["r1-u01", HOSTILE])
    words = {name: draw(known | TEXTS) for name in endpoint.path_names}
    query = draw(
        st.dictionaries(
            st.sampled_from(["limit", "cursor", "state", "server", "site", "class", "dry_run"]),
            TEXTS,
            max_size=2,
        )
    )
    key = draw(st.none() | st.text(PRINTABLE, max_size=20))
    example = example_of(endpoint)
    body = None if example is None else draw(mutants(example))
    headers = {} if key is None else {"Idempotency-Key": key}
    return endpoint, words, body, query, headers


def encoded(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


@fuzzed
@given(
    st.lists(requests(), min_size=SOME, max_size=SOME),
    st.sampled_from(["operator", "hostile customer"]),
)
async def test_requests(site: Site, made: list[Any], who: str) -> None:
    known = {HOSTILE: site.reservations["hostile customer"]}
    for endpoint, words, body, query, headers in made:
        path = endpoint.full_path
        for name, word in words.items():
            path = path.replace(f"{{{name}}}", encoded(known.get(word, word)))
        if query:
            path += "?" + urlencode(query, errors="surrogatepass")
        how: dict[str, Any] = {"headers": headers}
        if body is not None:
            how = {"data": json.dumps(body), "headers": {**headers, **JSON}}
        await site.send(endpoint.method, URL(path, encoded=True), who, **how)
    await site.require_service()


FORM_KINDS = (
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=utf-16",
    "multipart/form-data; boundary=x",
    "text/plain",
)
FIELDS = st.lists(st.tuples(st.sampled_from(["csrf", "email", "password"]) | TEXTS, TEXTS))


@fuzzed
@given(st.lists(FIELDS, min_size=2, max_size=2), st.binary(max_size=50))
async def test_forms(site: Site, filled_in: list[Any], raw: bytes) -> None:
    bodies = [urlencode(fields, errors="surrogatepass").encode() for fields in filled_in]
    for path in ("/login", "/reserve"):
        for kind, body in product(FORM_KINDS, (raw, *bodies)):
            headers = {"Content-Type": kind}
            await site.send("POST", path, "hostile customer", data=body, headers=headers)
    await site.require_service()
