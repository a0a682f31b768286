"""What the lifecycle's tests share."""

import pytest
from world import World

from provisioner.domain.lifecycle import State


@pytest.fixture
async def leased(world: World) -> World:
    await world.reserve(hours=10)
    await world.settle()
    assert await world.state() is State.LEASED
    return world
