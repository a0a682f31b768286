"""The daemon's command line: read the settings and run, or do one thing that needs its machine."""

import argparse
import asyncio
import contextlib
import logging
import resource
import signal

from provisioner.accounts.tokens import bootstrap_admin
from provisioner.daemon import open_database, run
from provisioner.private_files import private_folder
from provisioner.repeated_log import OncePerPeriod
from provisioner.settings import BadSettings, Settings, read_settings
from provisioner.site_clock import accept_clock
from provisioner.store.database import DatabaseUnavailable

log = logging.getLogger("ironlease")


async def new_admin_token(settings: Settings) -> str:
    """A token of the first administrator, for the first login or after a loss; the one before
    stops working."""
    async with open_database(settings) as database, database.write() as session:
        return await bootstrap_admin(session)


async def follow_clock(settings: Settings) -> str:
    """Have the daemon on this host follow the host's clock after a jump."""
    async with open_database(settings) as database:
        problem = await accept_clock(database)
    if not problem:
        return "nothing to accept: the daemon on this host goes by the host's clock already"
    return f"accepted, and followed within seconds: {problem}"


async def until_signalled(settings: Settings) -> None:
    """Run the daemon until SIGTERM or SIGINT; work in progress goes on at the next start."""
    daemon = asyncio.create_task(run(settings))
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        log.info("%s: stopping. Work in progress goes on at the next start.", number.name)
        daemon.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    with contextlib.suppress(asyncio.CancelledError):
        await daemon
    log.info("Stopped.")


_COMMANDS = {"admin-token": new_admin_token, "accept-clock": follow_clock}
"""What does one thing and prints it."""


def allow_connections() -> None:
    """As many open files as the starter permits: each tenant's agent keeps two connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    arguments = argparse.ArgumentParser(prog="ironlease", description=__doc__)
    arguments.add_argument(
        "command",
        nargs="?",
        choices=("serve", *_COMMANDS),
        default="serve",
        help="serve (default): run the daemon; admin-token: print a new administrator's token; "
        "accept-clock: say that this host's clock is right after it jumped, which ends leases "
        "that are over by it",
    )
    command = arguments.parse_args().command
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(OncePerPeriod())
    # Reports every connection; what matters of it is ours to say.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        settings = read_settings()
    except BadSettings as error:
        raise SystemExit(f"ironlease: the settings are wrong\n{error}") from None
    private_folder(settings.data_dir)
    try:
        if command in _COMMANDS:
            print(asyncio.run(_COMMANDS[command](settings)))  # noqa: T201
        else:
            allow_connections()
            asyncio.run(until_signalled(settings))
    except DatabaseUnavailable as error:
        raise SystemExit(f"ironlease: {error}; is `database_url` right, and is it there?") from None


if __name__ == "__main__":
    main()
