"""How the service and its background work do, by the API and at /metrics."""

from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from promtool import complaints

from provisioner.loops import Loop
from provisioner.store.tables import Incident


class Broken(Loop):
    name = "broken"

    async def turn(self, now):
        raise ZeroDivisionError("by zero")


@pytest.fixture
async def broken(services, clock):
    """A loop of the daemon whose turn failed."""
    loop = Broken(period=timedelta(hours=1), clock=clock)
    async with services.driver.running(loop):
        with loop.status.turning():
            await loop.turn(clock())
        yield loop


async def test_an_operator_sees_version_database_servers_and_incidents(operator, make):
    first, _ = await make.stock(2)
    await make.add(Incident(server_id=first.id, kind="stuck", reason="slow", next_action="look"))
    answer = await operator.get("/v1/status")
    assert answer.status == 200
    found = await answer.json()
    assert found["version"]
    assert found["database"] == "sqlite"
    assert found["servers"] == {"available": 2}
    assert found["incidents"] == {"stuck": 1}


async def test_the_loops_of_the_process_are_listed_with_how_they_do(operator, broken, clock):
    loops = {
        loop["name"]: loop for loop in (await (await operator.get("/v1/status")).json())["loops"]
    }
    assert "reports" in loops, "the service's own loop"
    assert loops["broken"]["failing"]
    assert loops["broken"]["failures"] >= 1
    assert "ZeroDivisionError" in loops["broken"]["error"]
    assert loops["broken"]["turned_at"] is not None


async def test_a_customer_does_not_see_it(customer):
    assert (await customer.get("/v1/status")).status == 403


async def test_metrics_tell_of_each_loop(anybody, broken, clock):
    text = await (await anybody.get("/metrics")).text()
    samples = {
        (sample.name, sample.labels["loop"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("ironlease_loop_")
    }
    assert samples["ironlease_loop_failing", "broken"] == 1
    assert samples["ironlease_loop_failures_total", "broken"] >= 1
    assert samples["ironlease_loop_period_seconds", "broken"] == 3600
    assert samples["ironlease_loop_last_turn_timestamp_seconds", "broken"] == clock().timestamp()
    assert samples["ironlease_loop_last_error_timestamp_seconds", "broken"] == clock().timestamp()
    assert samples["ironlease_loop_last_turn_seconds", "broken"] >= 0
    assert ("ironlease_loop_turns_total", "reports") in samples
    assert complaints(text) == []
