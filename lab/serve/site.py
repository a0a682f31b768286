"""A site of simulated servers: the real daemon on SQLite, with a clock that can be set back.

It can be opened several times, each time nearer to the present, as a daemon that was restarted.
What passed in between is filled in: a sample for the charts every five minutes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from lab.serve.link import HttpLink, bearer
from lab.simulated import TENANT, SimulatedGpus, SimulatedRack, servers_of, simulated_drivers
from provisioner.accounts.tokens import bootstrap_admin
from provisioner.daemon import Daemon, open_database
from provisioner.drivers.webhooks.post import WebhookPost
from provisioner.health.samples import EVERY, drawn, keep, slot
from provisioner.rackctl.inventory_files import read_inventory
from provisioner.settings import Settings
from provisioner.store.columns import utc_now
from provisioner.store.database import Database
from provisioner.store.secrets import SecretBox

INVENTORY = Path(__file__).with_name("inventory.yaml")
_REPORT_S = 2
_POLL_S = 0.3
_PATIENCE_S = 120
_T = TypeVar("_T")


class NotReached(Exception):
    """The site did not reach the expected state."""


class Clock:
    """The time, `back` ago."""

    def __init__(self) -> None:
        self.back = timedelta()

    def __call__(self) -> datetime:
        return utc_now() - self.back


class Api:
    """The API as one account sees it."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(base_url=f"{url}/v1", headers=bearer(token), timeout=30)
        self.token = token

    async def get(self, path: str) -> Any:
        return _checked(await self._http.get(path))

    async def post(self, path: str, /, **body: object) -> Any:
        return _checked(await self._http.post(path, json=body))

    async def until(self, what: str, look: Callable[[Self], Awaitable[_T]]) -> _T:
        """Poll until `look` returns something true. Raises `NotReached`."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while not (seen := await look(self)):  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as error:
            servers = (await self.get("/servers"))["items"]
            states = "\n".join(f"{s['name']}: {s['state']} {s['reason']}" for s in servers)
            raise NotReached(f"waited {_PATIENCE_S} s for {what}\n{states}") from error
        return seen

    async def close(self) -> None:
        await self._http.aclose()


def _checked(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise NotReached(f"{answer.request.method} {answer.request.url}: {answer.text}")
    return answer.json()


class Site:
    """The daemon of a folder and its simulated rack."""

    def __init__(self, folder: Path, port: int, database: Database, settings: Settings) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.clock = Clock()
        self.documents = read_inventory([INVENTORY]).documents
        self._settings, self._database = settings, database
        servers = servers_of(self.documents)
        self._gpus = {
            each.name: SimulatedGpus(each.name, utc_now()) for each in servers if each.gpus
        }
        self._link = HttpLink(self.url, self.clock, self._reported)
        self.rack = SimulatedRack(folder / "rack.json", self._link, servers, clock=self.clock)
        self._post = WebhookPost()
        self._daemon = Daemon(
            settings=settings,
            database=database,
            box=SecretBox.from_file(settings.secret_key_file),
            drivers=simulated_drivers(self.rack),
            authorized_key="",
            post=self._post,
            clock=self.clock,
        )
        self.clock.back = timedelta(days=2)
        self._recorded = self.clock()

    async def admin_token(self) -> str:
        async with self._database.write() as session:
            return await bootstrap_admin(session)

    @asynccontextmanager
    async def running(self, *, pace: float = 0, **back: float) -> AsyncIterator[None]:
        """Run the daemon, `back` before the present; work in a server takes `pace` seconds."""
        self.clock.back, self.rack.pace = timedelta(**back), pace
        await self._record()
        daemon = self._daemon
        async with daemon.serving(), daemon.driver.running(*daemon.loops):
            reporting = asyncio.create_task(self._report())
            try:
                yield
            finally:
                reporting.cancel()
                await asyncio.gather(reporting, return_exceptions=True)
        self._recorded = self.clock()

    async def _report(self) -> None:
        while True:
            for server in self.rack.servers:
                await self.rack.report(server)
            await asyncio.sleep(_REPORT_S)

    async def _record(self) -> None:
        """Keep samples of the leased servers, of the time since the daemon last ran."""
        at = slot(self._recorded) + EVERY
        async with self._database.write() as session:
            while at <= self.clock():
                samples = {
                    server.id: drawn(self._health(server.name, at))
                    for server in self.rack.servers
                    if server.name in self._gpus and server.running == TENANT
                }
                if samples:
                    await keep(session, samples, at)
                at += EVERY

    def _reported(self, server_id: str) -> dict[str, Any]:
        name = next(server.name for server in self.rack.servers if server.id == server_id)
        return self._health(name, self.clock())

    def _health(self, name: str, at: datetime) -> dict[str, Any]:
        if name not in self._gpus:
            return {"state": "absent", "reason": "no NVIDIA driver", "gpus": [], "events": []}
        server = self.rack.named(name)
        busy = server.running == TENANT
        return self._gpus[name].health(at, busy=busy, lost=server.lost_gpus)

    async def close(self) -> None:
        await self._link.close()
        self._post.close()


@asynccontextmanager
async def opened(folder: Path, port: int) -> AsyncIterator[Site]:
    """Open a new site in an empty folder."""
    url = f"http://127.0.0.1:{port}"
    settings = Settings(
        data_dir=folder,
        ramdisk_dir=folder,
        listen_port=port,
        public_url=url,
        machine_url=url,
        # Webhooks can only be tried with a receiver of one's own on this machine.
        webhook_allow_http=True,
        webhook_allow_networks=[ip_network("127.0.0.0/8")],
    )
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        site = Site(folder, port, database, settings)
        stack.push_async_callback(site.close)
        yield site
