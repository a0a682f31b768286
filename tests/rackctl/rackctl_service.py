"""What the tests run: the service in a thread of its own, and rackctl in this process."""

import asyncio
import io
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from aiohttp import web
from rackctl_fleet import FakeBmc, seed
from small_daemon import drivers_without_servers, small_daemon
from sqlmodel import col, select

from provisioner.accounts.tokens import bootstrap_admin
from provisioner.domain.lifecycle import RequestOutcome, State
from provisioner.rackctl.__main__ import main
from provisioner.service.app import make_app
from provisioner.store.columns import utc_now
from provisioner.store.database import Database
from provisioner.store.migrate import migrate
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import Server, ServerRequest

T = TypeVar("T")
_PATIENCE_S = 30


class Background:
    """An event loop in a thread of its own: rackctl blocks, the service must not."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(_PATIENCE_S)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the background."""
        asyncio.run_coroutine_threadsafe(work, self.loop)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_PATIENCE_S)
        self.loop.close()


@dataclass
class Fleet:
    """A database with the fleet in it, to be copied, and the administrator's token."""

    file: Path
    box: SecretBox
    token: str

    @classmethod
    async def make(cls, file: Path, box: SecretBox) -> Self:
        database = Database(f"sqlite:///{file}")
        await migrate(database)
        async with database.write() as session:
            token = await bootstrap_admin(session)
            await seed(session, box)
        await database.close()
        return cls(file, box, token)


class Service:
    """A running service; `background.run` reaches into its database."""

    def __init__(self, fleet: Fleet, folder: Path, background: Background) -> None:
        self.background = background
        self.token = fleet.token
        self.bmc = FakeBmc()
        self.database = Database(f"sqlite:///{fleet.file}")
        daemon = small_daemon(
            folder,
            self.database,
            fleet.box,
            drivers=drivers_without_servers(folder, self.bmc),
            ramdisk_dir=folder,
            webhook_allow_http=True,
            webhook_allow_networks=["127.0.0.0/8"],
        )
        self.services = replace(daemon.services, poll_s=0.02)
        self._runner = web.AppRunner(make_app(self.services), shutdown_timeout=0.1)
        self.port = background.run(self._start())
        self.url = f"http://127.0.0.1:{self.port}"

    async def _start(self) -> int:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def carry_out(self, count: int, states: dict[str, State], failing: str = "") -> None:
        """Do what the reconciler does with `count` requests: servers enter `states` by name, and
        those of the server `failing` fail."""
        done = 0
        while done < count:
            async with self.database.write() as session:
                found = await session.exec(
                    select(ServerRequest, Server)
                    .join(Server, col(Server.id) == col(ServerRequest.server_id))
                    .where(col(ServerRequest.ended_at).is_(None))
                )
                for request, server in found.all():
                    failed = server.name == failing
                    request.ended_at = utc_now()
                    request.outcome = RequestOutcome.FAILED if failed else RequestOutcome.DONE
                    request.failure = "the ramdisk does not answer" if failed else ""
                    server.state = states.get(server.name, server.state)
                    done += 1
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self._runner.cleanup()
        await self.database.close()


@dataclass
class Ran:
    code: int
    out: str
    err: str


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Rackctl:
    """Runs commands in this process, in the environment set by the fixtures."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._patch = patch

    def __call__(self, *arguments: str, stdin: str = "", typed: str | None = None) -> Ran:
        """`typed` is entered at a terminal; without it there is none."""
        given = io.StringIO(stdin) if typed is None else Terminal(f"{typed}\n")
        self._patch.setattr(sys, "stdin", given)
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = self._capsys.readouterr()
        return Ran(int(ended.value.code or 0), out, err)
