"""The pass that a ramdisk gets with the order to write an image, as the service takes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer
from small_daemon import small_daemon
from world import World

from provisioner.domain.lifecycle import State
from provisioner.drivers.plays import OnEvent, Plays
from provisioner.drivers.ssh import SshTarget
from provisioner.service.app import make_app
from provisioner.store.database import Database


class AskingPlays:
    """Plays that ask the service for the image before they write it."""

    def __init__(self, plays: Plays, client: Any) -> None:
        self._plays = plays
        self._client = client
        self.passes: list[str] = []
        self.statuses: list[int] = []

    async def run(
        self,
        playbook: str,
        target: SshTarget,
        variables: Mapping[str, Any],
        on_event: OnEvent,
        *,
        timeout_s: float,
    ) -> dict[str, Any]:
        if playbook == "image":
            self.passes.append(variables["image_pass"])
            self.statuses.append(await self.status(variables["image_digest"]))
        return await self._plays.run(playbook, target, variables, on_event, timeout_s=timeout_s)

    async def status(self, digest: str) -> int:
        headers = {"Authorization": f"Bearer {self.passes[-1]}"}
        answer = await self._client.get(f"/images/{digest}/manifest.json", headers=headers)
        return int(answer.status)


async def test_the_pass_is_good_while_the_image_is_written_and_not_afterwards(
    any_database: Database, tmp_path: Path
) -> None:
    world = World(any_database, tmp_path)
    await world.enrol()
    await world.settle()
    drivers = world.context.drivers
    daemon = small_daemon(tmp_path, any_database, world.box, drivers=drivers, clock=world.clock)
    async with TestClient(TestServer(make_app(daemon.services))) as client:
        plays = AskingPlays(drivers.plays, client)
        world.reconciler = world.new_reconciler("asking", plays=plays)
        await world.reserve()
        await world.settle()
        assert await world.state() is State.LEASED
        # 404: the pass was accepted, and the simulated image has no file.
        assert plays.statuses == [404]
        assert await plays.status("d1") == 403
