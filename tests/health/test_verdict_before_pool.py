"""A server waits for the verdict on its own boot before it is offered."""

import pytest
from world import World

from provisioner.domain.lifecycle import State


async def test_nothing_is_offered_before_the_report_of_its_boot_was_judged(
    enrolled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(enrolled.judge, "settle", _nothing)
        await enrolled.passes(30, seconds=3)
        assert await enrolled.state() is State.VALIDATING
        await enrolled.passes(4, seconds=60)
        assert await enrolled.state() is State.VALIDATING
        (incident,) = await enrolled.incidents()
        assert "has not been judged" in incident.reason
    await enrolled.settle()
    await enrolled.passes(3, seconds=60)
    assert await enrolled.state() is State.AVAILABLE
    assert await enrolled.incidents() == []


async def _nothing() -> None:
    """A judge that does not run."""
