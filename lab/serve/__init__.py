"""`make serve`: the whole service on SQLite with simulated servers, as after a day of use.

It is for trying out the pages and the API, and needs no root. The simulated machines request their
boot scripts and identities, and report their GPUs, over HTTP, as real ones do.
"""

import asyncio
import fcntl
import logging
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from rich.console import Console

from lab.serve.site import Site, opened
from lab.serve.story import Logins, told

FOLDER = Path(__file__).parents[2] / "var"


class CannotServe(Exception):
    """Another one is running, or another program has the port; the message says what to do."""


def run(port: int, folder: Path = FOLDER) -> int:
    """Serve until Ctrl-C. Everything starts afresh each time."""
    # A connection that is thrown away because its loop ends is no fault.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(_serve(port, folder))
        except CannotServe as error:
            Console(stderr=True).print(str(error), highlight=False, soft_wrap=True)
            return 1
    return 0


@asynccontextmanager
async def serving(port: int, folder: Path) -> AsyncIterator[tuple[Site, Logins]]:
    """A site in its present, in a folder of the port's own, which is emptied first.

    Raises `CannotServe`.
    """
    with reserved(port, folder / f"serve-{port}") as empty:
        Console(stderr=True).print("Playing a day on simulated servers, which takes a minute …")
        async with opened(empty, port) as site, told(site, empty) as logins:
            yield site, logins


async def _serve(port: int, folder: Path) -> None:
    async with serving(port, folder) as (site, logins):
        _greet(site, logins)
        await asyncio.Event().wait()


@contextmanager
def reserved(port: int, folder: Path) -> Iterator[Path]:
    """Hold a folder for this process, and empty it.

    Raises `CannotServe`, with nothing changed, when the folder is held or the port is taken.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotServe(
                f"Already running at http://127.0.0.1:{port}.\n"
                "Stop it with Ctrl-C in its terminal, or choose another port for a second one:"
                " make serve PORT=9000"
            ) from error
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError as error:
            raise CannotServe(
                f"Port {port} of 127.0.0.1 cannot be used: {os.strerror(error.errno or 0)}.\n"
                "Choose another one: make serve PORT=9000"
            ) from error
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder


def _greet(site: Site, logins: Logins) -> None:
    Console().print(
        f"""
[bold]Ironlease[/] with simulated servers: {site.url}

  log in as     {", ".join(logins.emails)}
  password      {logins.password}
  rackctl       export IRONLEASE_URL={site.url} IRONLEASE_TOKEN={logins.token}
                .venv/bin/rackctl server list

Ctrl-C ends it; nothing is kept.
""",
        highlight=False,
        soft_wrap=True,
    )
