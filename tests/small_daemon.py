"""The daemon as tests have it: put together by its composition root, of parts that they choose."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from lab.simulated import SimulatedRack, simulated_drivers
from lab.simulated.rack import Link
from provisioner.daemon import Daemon
from provisioner.drivers.bmc import Bmc
from provisioner.drivers.webhooks.post import WebhookPost
from provisioner.lifecycle.job import Drivers
from provisioner.settings import Settings
from provisioner.store.columns import utc_now
from provisioner.store.database import Database
from provisioner.store.secrets import SecretBox

AUTHORIZED_KEY = "ssh-ed25519 AAAA provisioner"


def small_daemon(
    folder: Path,
    database: Database,
    box: SecretBox,
    *,
    drivers: Drivers,
    clock: Callable[[], datetime] = utc_now,
    **settings: Any,
) -> Daemon:
    """A daemon that keeps its files in `folder`; nothing of it runs yet."""
    return Daemon(
        settings=Settings(data_dir=folder, **settings),
        database=database,
        box=box,
        drivers=drivers,
        authorized_key=AUTHORIZED_KEY,
        post=WebhookPost(),
        clock=clock,
    )


def drivers_without_servers(folder: Path, bmc: Bmc) -> Drivers:
    """For what only asks BMCs."""
    rack = SimulatedRack(folder / "rack.json", cast(Link, None), [])
    return replace(simulated_drivers(rack), bmc=bmc)
