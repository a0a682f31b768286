"""rackctl reservation: no loss unasked, a reason for a customer's, and the outcome is awaited."""

import asyncio
import json

import pytest
from rackctl_fleet import CLASS, CUSTOMER
from rackctl_service import Rackctl, Service
from sqlmodel import select

from provisioner.domain.lifecycle import State
from provisioner.domain.reservations import ReservationState
from provisioner.store.columns import utc_now
from provisioner.store.tables import Lease, Reservation, Server

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAxEo8l0nZ8bVrXdKPYuXb7T3cJ0bU1uHq5bQbI3sD5s ada"
WHY = ("--reason", "asked by phone")


@pytest.fixture
def lease(rackctl: Rackctl, service: Service) -> str:
    """A customer's reservation by the host name ada-1, handed over on r1-u01."""
    ran = rackctl(
        *("reserve", "--class", CLASS, "--image", "debian-12", "--for", "2h", "--key", KEY),
        *("--account", CUSTOMER, "--hostname", "ada-1", "-o", "json"),
    )
    assert ran.code == 0, ran.err
    service.background.run(hand_over(service))
    return str(json.loads(ran.out)["id"])


async def hand_over(service: Service) -> None:
    async with service.database.write() as session:
        lease = (await session.exec(select(Lease))).one()
        lease.ready_at = utc_now()
        (await session.get_one(Server, lease.server_id)).state = State.LEASED


async def reclaim(service: Service) -> None:
    """Do what the reconciler does at the end of a lease."""
    while True:
        async with service.database.write() as session:
            row = (await session.exec(select(Reservation))).one()
            lease = (await session.exec(select(Lease))).one()
            if row.released_at is not None:
                row.state = ReservationState.ENDED
                lease.ended_at = utc_now()
                return
        await asyncio.sleep(0.02)


def shown(rackctl: Rackctl, which: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(rackctl("reservation", "show", which, "-o", "json").out)
    return found


COMMANDS = ("release", "swap", "stop", "reboot", "power-cycle", "reinstall")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_loss_without_a_terminal_is_refused_and_names_yes(
    rackctl: Rackctl, lease: str, command: str
) -> None:
    ran = rackctl("reservation", command, lease, *WHY)

    assert ran.code == 2
    assert "--yes" in ran.err
    assert shown(rackctl, lease)["released_at"] is None


@pytest.mark.parametrize("command", COMMANDS)
def test_on_a_customers_reservation_an_operator_says_why(
    rackctl: Rackctl, lease: str, command: str
) -> None:
    ran = rackctl("reservation", command, lease, "--yes")

    assert ran.code == 2
    assert "--reason is required" in ran.err


def test_one_types_the_host_name_and_the_reason_is_in_the_audit_trail(
    rackctl: Rackctl, service: Service, lease: str
) -> None:
    wrong = rackctl("reservation", "release", lease, *WHY, typed="yes")
    assert wrong.code == 1
    assert shown(rackctl, lease)["released_at"] is None
    service.background.start(reclaim(service))

    ran = rackctl("reservation", "release", lease, *WHY, typed="ada-1")

    assert ran.code == 0, ran.err
    assert "ended" in ran.out
    assert "asked by phone" in rackctl("audit", "--subject", lease).out


def test_a_release_that_takes_too_long_stands(rackctl: Rackctl, lease: str) -> None:
    ran = rackctl("reservation", "release", lease, *WHY, "--yes", "--timeout", "0s")

    assert ran.code == 4
    assert "before access had ended" in ran.err
    assert shown(rackctl, lease)["released_at"] is not None


def test_the_outcome_of_a_request_is_awaited(
    rackctl: Rackctl, service: Service, lease: str
) -> None:
    service.background.start(service.carry_out(1, {}))

    ran = rackctl("reservation", "reboot", lease, *WHY, "--yes", "-o", "json")

    assert ran.code == 0, ran.err
    request = json.loads(ran.out)
    assert (request["outcome"], request["reason"]) == ("done", "asked by phone")


def test_a_request_that_fails_exits_with_1(rackctl: Rackctl, service: Service, lease: str) -> None:
    service.background.start(service.carry_out(1, {}, failing="r1-u01"))

    ran = rackctl("reservation", "start", lease)

    assert ran.code == 1
    assert "the ramdisk does not answer" in ran.err
