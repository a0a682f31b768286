"""Servers that need an operator: the list, the API and the condition in SQL agree on which, and
each says why and what to do.
"""

import itertools

import pytest
from health_rows import incident, judged, lost

from provisioner.domain.health.levels import HealthAction, HealthLevel
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import OperationState, State, Step, Verb
from provisioner.store.tables import Incident, ServerHealth


def pytest_generate_tests(metafunc):
    metafunc.parametrize("database_kind", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database_kind(request):
    return request.param


async def listed(client, **query):
    answer = await client.get("/v1/servers", params={"limit": 1000, **query})
    assert answer.status == 200, await answer.text()
    return (await answer.json())["items"]


async def test_the_condition_in_sql_is_the_rule(operator, make, clock):
    await make.server_class()
    cases = itertools.product(State, (None, *OperationState), (None, "open", "closed"), (0, 1))
    for number, (state, operation, report, faulty) in enumerate(cases, 1):
        server = await make.server(number, state=state)
        rows = []
        if operation is not None:
            made = await make.operation(server, Verb.INSPECT, Step.POWER_OFF, state=operation)
            if operation in (OperationState.DONE, OperationState.FAILED):
                async with make.services.database.write() as session:
                    (await session.get_one(type(made), made.id)).ended_at = clock()
        if report is not None:
            ended = clock() if report == "closed" else None
            kind = IncidentKind.STEP
            rows.append(
                Incident(
                    server_id=server.id, kind=kind, reason="x", next_action="y", closed_at=ended
                )
            )
        if faulty:
            rows.append(
                ServerHealth(
                    server_id=server.id,
                    level=HealthLevel.FAULTY,
                    action=HealthAction.RMA,
                    summary="GPU 3 is lost",
                    level_since=clock(),
                    judged_at=clock(),
                    verdict={},
                )
            )
        await make.add(*rows)
    every = await listed(operator)
    needing = [server["name"] for server in every if server["needs_attention"]]
    others = [server["name"] for server in every if not server["needs_attention"]]
    assert needing
    assert others
    found = await listed(operator, needs_attention="true")
    assert [server["name"] for server in found] == needing
    found = await listed(operator, needs_attention="false")
    assert [server["name"] for server in found] == others


async def test_a_leased_server_with_a_lost_gpu_says_why_and_what_to_do(operator, make, clock):
    (server,) = await make.stock()
    ada, _ = await make.account("Ada")
    lease = await make.lease(server, ada)
    await judged(make, server, lost(clock()))
    await incident(make, server, lease)
    (found,) = await listed(operator, needs_attention="true")
    assert found["needs_attention"] is True
    assert found["reason"] == found["incidents"][0]["reason"]
    assert found["next_action"] == found["incidents"][0]["next_action"]
