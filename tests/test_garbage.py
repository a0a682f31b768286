"""The daemon collects garbage by the clock, and finds all of it."""

import gc
import weakref
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from provisioner.garbage import GarbageCollection
from provisioner.loops import Driver

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class _Ring:
    """Refers to itself, so that counting references never frees it."""

    def __init__(self, freed: list[bool]) -> None:
        self.ring = self
        weakref.finalize(self, freed.append, True)


@pytest.fixture
async def collection() -> AsyncIterator[GarbageCollection]:
    """After its first turn."""
    collection = GarbageCollection()
    await collection.turn(NOW)
    yield collection
    await collection.close()


async def test_new_objects_are_looked_through_at_each_turn(collection: GarbageCollection) -> None:
    assert not gc.isenabled()
    freed: list[bool] = []
    _Ring(freed)
    await collection.turn(NOW + timedelta(seconds=1))
    assert freed


async def test_old_objects_are_looked_through_each_hour(collection: GarbageCollection) -> None:
    freed: list[bool] = []
    ring = _Ring(freed)
    gc.collect(1)
    del ring
    await collection.turn(NOW + timedelta(minutes=59))
    assert not freed, "it is old: only a look through everything finds it"
    await collection.turn(NOW + timedelta(minutes=60))
    assert freed


async def test_in_the_end_it_is_left_to_python_again() -> None:
    async with Driver().running(GarbageCollection()):
        pass
    assert gc.isenabled()
