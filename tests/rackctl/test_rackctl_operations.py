"""rackctl operation: lists, steps, and following live, against the real service."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from cutting_proxy import CuttingProxy
from rackctl_fleet import WHY, log_line
from rackctl_service import Rackctl, Service
from sqlmodel import select

from provisioner.domain.lifecycle import OperationState, Step
from provisioner.store.columns import utc_now
from provisioner.store.tables import Operation, Server


async def running_wipe(service: Service) -> str:
    async with service.database.read() as session:
        found = await session.exec(select(Operation).join(Server).where(Server.name == "r1-u02"))
        return found.one().id


async def end(service: Service, state: OperationState) -> None:
    """Write two more lines, then end."""
    operation_id = await running_wipe(service)
    async with service.database.write() as session:
        await log_line(session, operation_id, 4, Step.SANITISE_DISKS)
        await log_line(session, operation_id, 5, Step.SANITISE_DISKS)
        operation = await session.get_one(Operation, operation_id)
        operation.state = state
        operation.ended_at = utc_now() + timedelta(seconds=1)


def lines(out: str) -> list[str]:
    return [line.partition("line ")[2][:1] for line in out.splitlines() if "of the wipe" in line]


def test_operations_are_listed_newest_first(rackctl: Rackctl) -> None:
    listed = json.loads(rackctl("operation", "list", "-o", "json").out)["items"]
    of_one = rackctl("operation", "list", "--server", "r1-u03")

    assert len(listed) == 3
    assert [o["id"] for o in listed] == sorted((o["id"] for o in listed), reverse=True)
    assert (
        len(json.loads(rackctl("operation", "list", "--limit", "2", "-o", "json").out)["items"])
        == 2
    )
    assert "failed" in of_one.out
    assert "r1-u02" not in of_one.out


def test_an_operation_is_found_by_its_server(rackctl: Rackctl) -> None:
    ran = rackctl("operation", "show", "r1-u03")

    assert ran.code == 0
    assert WHY in ran.out
    assert "sanitise" in ran.out


def test_a_server_without_operations_says_so(rackctl: Rackctl) -> None:
    ran = rackctl("operation", "follow", "r1-u01")

    assert ran.code == 1
    assert "r1-u01 has had no operation yet" in ran.err


def test_an_ended_operation_is_printed_whole_and_a_failed_one_exits_with_1(
    rackctl: Rackctl,
) -> None:
    ran = rackctl("operation", "follow", "r1-u03")

    assert ran.code == 1
    assert "line 1 of the wipe" in ran.out
    assert "line 20 of the wipe" in ran.out
    assert "failed at sanitise_disks" in ran.err


def test_a_parked_operation_is_said_to_wait_for_an_operator(
    rackctl: Rackctl, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def give_up(number: int) -> None:
        if number == 1:
            return
        async with service.database.write() as session:
            found = await session.exec(
                select(Operation).join(Server).where(Server.name == "r1-u04")
            )
            operation = found.one()
            operation.state = OperationState.FAILED
            operation.ended_at = utc_now()

    proxy = CuttingProxy(service.port, cuts=1, on_stream=give_up, behind="operation")
    monkeypatch.setenv("IRONLEASE_URL", service.background.run(proxy.start()))
    ran = rackctl("operation", "follow", "r1-u04")
    service.background.run(proxy.stop())

    assert ran.code == 1
    assert "Operation parked: it needs an operator." in ran.err


@pytest.fixture
def proxied(
    rackctl: Rackctl, service: Service, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CuttingProxy]:
    """rackctl reaches the service through a proxy that cuts two streams after their first line.

    The operation ends when the third is opened.
    """

    async def on_stream(number: int) -> None:
        if number == 3:
            await end(service, OperationState.DONE)

    proxy = CuttingProxy(service.port, cuts=2, on_stream=on_stream)
    monkeypatch.setenv("IRONLEASE_URL", service.background.run(proxy.start()))
    yield proxy
    service.background.run(proxy.stop())


def test_following_survives_dropped_streams_without_losing_or_repeating_a_line(
    rackctl: Rackctl, proxied: CuttingProxy
) -> None:
    ran = rackctl("operation", "follow", "r1-u02")

    assert ran.code == 0, ran.err
    assert lines(ran.out) == ["1", "2", "3", "4", "5"]
    assert ["last-event-id: log_" in stream.lower() for stream in proxied.streams] == [
        False,
        True,
        True,
    ]


def test_following_as_json_is_one_object_per_line(rackctl: Rackctl, proxied: CuttingProxy) -> None:
    events = [
        json.loads(line)
        for line in rackctl("operation", "follow", "r1-u02", "-o", "json").out.splitlines()
    ]

    assert [e["log"]["text"][5] for e in events if "log" in e] == ["1", "2", "3", "4", "5"]
    assert events[-1]["operation"]["state"] == "done"
