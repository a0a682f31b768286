"""The daemon looks for garbage by the clock, and finds all that there is."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from provisioner import garbage


class _Ring:
    """Refers to itself, so that counting references never frees it."""

    def __init__(self, freed: asyncio.Event) -> None:
        self.ring = self
        weakref.finalize(self, freed.set)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_YOUNG_S", 0.01)


@asynccontextmanager
async def _collecting() -> AsyncIterator[None]:
    task = asyncio.create_task(garbage.collect_by_the_clock())
    await asyncio.sleep(0)
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_new_objects_are_looked_through_all_the_time() -> None:
    async with _collecting():
        assert not gc.isenabled()
        freed = asyncio.Event()
        _Ring(freed)
        await asyncio.wait_for(freed.wait(), 30)


async def test_old_objects_are_looked_through_at_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_ALL_S", 0.0)
    async with _collecting():
        freed = asyncio.Event()
        ring = _Ring(freed)
        gc.collect(1)
        del ring
        gc.collect(1)
        assert not freed.is_set(), "it is old: only a look through all finds it"
        await asyncio.wait_for(freed.wait(), 30)


async def test_in_the_end_it_is_left_to_python_again() -> None:
    async with _collecting():
        pass
    assert gc.isenabled()
