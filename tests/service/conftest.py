"""The whole application on a database of its own and a clock that tests turn."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from cryptography.fernet import Fernet
from documented import watch_answers
from form_browser import Browser
from playwright.async_api import async_playwright, expect
from service_factories import Clock, Factory, FakeBmc
from small_daemon import drivers_without_servers, small_daemon

from provisioner.domain.access import Role
from provisioner.service.app import make_app
from provisioner.service.context import Services
from provisioner.store.database import Database
from provisioner.store.secrets import SecretBox

_CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
_PATIENCE_MS = 30_000
_PLAIN = "ironlease.test"
_ON_BOTH = ("test_api_reservations", "test_api_fleet", "test_extend")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What books and enrols is tried on both databases; what only shows it, on SQLite."""
    if metafunc.module.__name__ in _ON_BOTH and "services" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", ["sqlite", "postgresql"])


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def database(database_kind: str, request: pytest.FixtureRequest) -> Database:
    database: Database = request.getfixturevalue(f"{database_kind}_database")
    return database


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    ramdisk = tmp_path / "ramdisk"
    ramdisk.mkdir()
    (ramdisk / "vmlinuz").write_bytes(b"kernel")
    (ramdisk / "ramdisk.img").write_bytes(bytes(range(256)))
    daemon = small_daemon(
        tmp_path,
        database,
        SecretBox(Fernet.generate_key()),
        drivers=drivers_without_servers(tmp_path, FakeBmc()),
        clock=Clock(),
        machine_url="http://10.77.0.1:8080",
        ramdisk_dir=ramdisk,
    )
    return replace(daemon.services, poll_s=0.01)


@pytest.fixture
def make(services: Services) -> Factory:
    return Factory(services)


@pytest.fixture
def clock(services: Services) -> Clock:
    assert isinstance(services.clock, Clock)
    return services.clock


@pytest.fixture
def bmc(services: Services) -> FakeBmc:
    assert isinstance(services.bmc, FakeBmc)
    return services.bmc


@pytest.fixture
async def anybody(services: Services) -> AsyncIterator[TestClient]:
    """A client without a token. Whatever the API answers has to be in its document."""
    app = make_app(services)
    undocumented = watch_answers(app)
    async with TestClient(TestServer(app)) as client:
        yield client
    assert undocumented == []


@pytest.fixture
async def as_role(
    anybody: TestClient, make: Factory
) -> AsyncIterator[Callable[..., Awaitable[TestClient]]]:
    """Makes a client that is logged in by the token of a new account."""
    clients: list[TestClient] = []

    async def client(role: Role = Role.CUSTOMER, name: str = "") -> TestClient:
        _, token = await make.account(name or role.value, role)
        new = TestClient(anybody.server, headers={"Authorization": f"Bearer {token}"})
        clients.append(new)
        return new

    yield client
    for each in clients:
        await each.session.close()


@pytest.fixture
async def customer(as_role: Callable[..., Awaitable[TestClient]]) -> TestClient:
    return await as_role(Role.CUSTOMER)


@pytest.fixture
async def operator(as_role: Callable[..., Awaitable[TestClient]]) -> TestClient:
    return await as_role(Role.OPERATOR)


@pytest.fixture
async def admin(as_role: Callable[..., Awaitable[TestClient]]) -> TestClient:
    return await as_role(Role.ADMIN)


@pytest.fixture
async def browser(anybody: TestClient) -> Browser:
    """One without JavaScript."""
    return Browser(anybody)


@pytest.fixture
async def page(anybody):
    """A page of a real browser; `errors` is what went wrong in it."""
    async with _page(anybody.make_url("/")) as page:
        yield page


@pytest.fixture
async def insecure_page(anybody):
    """One of a site that is reached by plain HTTP, in which browsers offer less."""
    async with _page(anybody.make_url("/").with_host(_PLAIN)) as page:
        yield page


@asynccontextmanager
async def _page(url):
    expect.set_options(timeout=_PATIENCE_MS)
    options = ["--no-sandbox", f"--host-resolver-rules=MAP {_PLAIN} 127.0.0.1"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_CHROMIUM, args=options)
        page = await browser.new_page(base_url=str(url))
        page.set_default_timeout(_PATIENCE_MS)
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda m: m.type == "error" and page.errors.append(m.text))
        yield page
        await browser.close()
