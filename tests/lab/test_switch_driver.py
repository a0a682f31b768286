"""The Open vSwitch driver on the rack's real switch: shut is shut, and reads so."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lab.rack import Rack
from lab.rack.plan import PROVISIONER_ADDRESS
from lab.rack.switch import BRIDGE, PROVISIONER_PORT
from lab.testing import PortNic, rack
from provisioner.drivers.network import SwitchUnreachable
from provisioner.drivers.network.open_vswitch import OpenVSwitch

pytestmark = [pytest.mark.lab, pytest.mark.root]

PORT, NEIGHBOUR = "r1-u01", "r1-u02"
LOST_SECONDS = 1
DISCARD = 9


@pytest.fixture(scope="module")
def one_rack() -> Iterator[Rack]:
    with rack(2, "ilsw", disk_size="64M", memory_mib=128) as it:
        yield it


@pytest.fixture
def switch(one_rack: Rack) -> OpenVSwitch:
    return driver(one_rack.plan.ovs_folder)


def driver(run_dir: Path) -> OpenVSwitch:
    return OpenVSwitch(
        run_dir,
        BRIDGE,
        provisioner_port=PROVISIONER_PORT,
        provisioner=IPv4Address(PROVISIONER_ADDRESS),
    )


async def test_nothing_passes_a_shut_port_until_it_is_opened(
    one_rack: Rack, switch: OpenVSwitch
) -> None:
    with PortNic(one_rack, PORT) as nic:
        assert nic.reaches(PROVISIONER_ADDRESS)
        await switch.set_port(PORT, is_open=False)
        assert not await switch.port_is_open(PORT)
        assert not nic.reaches(PROVISIONER_ADDRESS, LOST_SECONDS)
        await switch.set_port(PORT, is_open=True)
        assert await switch.port_is_open(PORT)
        assert nic.reaches(PROVISIONER_ADDRESS)


async def test_shutting_one_port_leaves_its_neighbour_alone(
    one_rack: Rack, switch: OpenVSwitch
) -> None:
    await switch.set_port(PORT, is_open=False)
    assert await switch.port_is_open(NEIGHBOUR)
    await switch.set_port(PORT, is_open=True)


async def test_shutting_twice_is_shutting_once(switch: OpenVSwitch) -> None:
    await switch.set_port(PORT, is_open=False)
    await switch.set_port(PORT, is_open=False)
    assert not await switch.port_is_open(PORT)
    await switch.set_port(PORT, is_open=True)


async def test_a_port_that_lets_a_boot_through_reaches_the_provisioner_and_nobody_else(
    one_rack: Rack, switch: OpenVSwitch
) -> None:
    with PortNic(one_rack, PORT) as nic, PortNic(one_rack, NEIGHBOUR) as other:
        await switch.set_port(PORT, is_open=False)
        await switch.allow_boot(PORT, one_rack.plan.server(PORT).mac)
        assert nic.reaches(PROVISIONER_ADDRESS)
        assert other.reaches(PROVISIONER_ADDRESS)
        nic.send_udp(DISCARD, b"to everybody")
        nic.send_udp(DISCARD, b"to the neighbour", other.mac)
        assert not other.hears(b"to ", LOST_SECONDS)
        other.send_udp(DISCARD, b"from the neighbour", nic.mac)
        assert not nic.hears(b"from the neighbour", LOST_SECONDS)
        await switch.set_port(PORT, is_open=True)
        nic.send_udp(DISCARD, b"to the neighbour", other.mac)
        assert other.hears(b"to the neighbour")


async def test_a_port_that_does_not_exist_is_told(switch: OpenVSwitch) -> None:
    with pytest.raises(SwitchUnreachable, match="r9-u99"):
        await switch.set_port("r9-u99", is_open=False)


async def test_a_switch_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SwitchUnreachable, match=PORT):
        await driver(tmp_path).port_is_open(PORT)
